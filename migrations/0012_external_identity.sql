-- Sign-in with an account at Google, GitHub or another issuer. An identity is the issuer's own, permanent id of a user; its email address can
-- change and be reassigned, so it never finds an account by itself.

create table identity (
  issuer text not null,
  subject text not null,
  user_id uuid not null references account on delete cascade,
  -- The address that the issuer last sent, to recognize the identity by.
  email text,
  created_at timestamptz not null,
  last_used_at timestamptz not null,
  primary key (issuer, subject)
);
create index identity_user on identity (user_id);

-- Sign-ins that have been sent to an issuer and haven't returned yet. Single use.
create table sign_in_state (
  -- Hash of the `state` parameter and the browser's cookie, so that a link works only in the browser that began the sign-in.
  state_hash bytea primary key,
  provider text not null,
  purpose text not null check (purpose in ('sign_in', 'link', 'confirm')),
  nonce text not null,
  pkce_verifier text not null,
  -- The user who connects the identity or confirms who they are; null at a sign-in.
  user_id uuid references account on delete cascade check ((user_id is null) = (purpose = 'sign_in')),
  -- The path to return to; may be empty.
  next text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index sign_in_state_user on sign_in_state (user_id) where user_id is not null;
create index sign_in_state_expires on sign_in_state (expires_at);
