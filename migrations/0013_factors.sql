-- Second factors: passkeys, authenticator apps (TOTP) with recovery codes, and sessions that wait for one. Before, a password was the only way in
-- and the only proof, for admins too.

-- A passkey verifies its user, so it is both factors at once.
create table passkey (
  credential_id bytea primary key,
  -- Names the passkey on pages and in forms.
  passkey_id uuid not null unique,
  user_id uuid not null references account on delete cascade,
  name text not null constraint passkey_name_length check (char_length(name) between 1 and 60),
  -- Public key and counter, as webauthn-rs stores them.
  credential jsonb not null,
  created_at timestamptz not null,
  last_used_at timestamptz
);
create index passkey_user on passkey (user_id, created_at);

create table totp (
  user_id uuid primary key references account on delete cascade,
  -- Encrypted with a key that is derived from SECRET_KEY.
  secret_encrypted bytea not null,
  created_at timestamptz not null,
  -- When the first code was entered. Until then the secret is in the session that shows it.
  confirmed_at timestamptz not null,
  -- The step of the last code that was accepted. Each step is accepted once.
  last_step bigint not null default 0
);

-- Single use. Only keyed hashes are stored.
create table recovery_code (
  user_id uuid not null references account on delete cascade,
  code_hash bytea not null,
  created_at timestamptz not null,
  used_at timestamptz,
  primary key (user_id, code_hash)
);

-- Passkey ceremonies that have begun: what their responses are checked against. Single use.
create table factor_challenge (
  challenge_hash bytea primary key,
  kind text not null check (kind in ('register', 'sign_in', 'confirm')),
  -- Null while the user isn't known yet.
  user_id uuid references account on delete cascade,
  state jsonb not null,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index factor_challenge_expires on factor_challenge (expires_at);

alter table session
  -- The user who has proved one factor and must prove a second one. Such a session is nobody's: `user_id` is null.
  add column pending_user_id uuid references account on delete cascade,
  -- Whether the user has proved two factors in this session.
  add column is_two_factor boolean not null default false,
  -- The secret of an authenticator app that is being set up in this session, encrypted, and when it was made. No other session can show it or
  -- confirm it, so that whoever else can sign in doesn't know the secret that the user sets up.
  add column totp_secret_encrypted bytea,
  add column totp_created_at timestamptz;
create index session_pending on session (pending_user_id) where pending_user_id is not null;
