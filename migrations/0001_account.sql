-- Who users are and what they may use. A plan is a row, so that adding one needs no code; a session row holds only a
-- hash of the cookie's token, so that a leaked table signs nobody in.

create table plan (
  plan_id text primary key check (plan_id ~ '^[a-z][a-z0-9_-]{0,31}$'),
  name text not null,
  sort int not null unique,
  requests_per_minute bigint not null check (requests_per_minute > 0),
  tokens_per_day bigint not null check (tokens_per_day > 0),
  in_flight bigint not null check (in_flight > 0),
  max_output bigint not null check (max_output > 0),
  monthly_cents bigint not null check (monthly_cents >= 0),
  pitch text not null
);

insert into plan (plan_id, name, sort, requests_per_minute, tokens_per_day, in_flight, max_output, monthly_cents, pitch) values
  ('free', 'Free', 1, 10, 50000, 2, 4096, 0, 'To find out whether it suits you.'),
  ('pro', 'Pro', 2, 100, 500000, 6, 16384, 2000, 'For everyday work, with the larger models.'),
  ('max', 'Max', 3, 300, 3000000, 12, 32768, 10000, 'For long documents and long days.');

-- "user" is reserved, so this one table is named otherwise than its key.
create table account (
  user_id uuid primary key,
  email text not null constraint account_email_length check (length(email) between 3 and 254),
  name text not null default '' constraint account_name_length check (length(name) <= 80),
  password_hash text not null,
  role text not null default 'member' check (role in ('member', 'admin')),
  plan_id text not null default 'free' references plan,
  -- HMAC of the normalised address at sign-up, never changed: meters and ledger go by it, so that deleting an account
  -- and signing up again refills nothing.
  subject text not null,
  time_zone text not null default 'UTC',
  created_at timestamptz not null default now()
);
create unique index account_email_key on account (lower(email));
create index account_subject on account (subject);

create table session (
  token_hash bytea primary key,
  user_id uuid references account on delete cascade,
  data jsonb not null,
  expires_at timestamptz not null
);
create index session_account on session (user_id);
create index session_expires_at on session (expires_at);

-- What admins did, and to whom: who, what, before and after.
create table audit (
  audit_id uuid primary key,
  actor_id uuid references account on delete set null,
  subject_id uuid references account on delete set null,
  action text not null,
  before text,
  after text,
  created_at timestamptz not null default now()
);
create index audit_subject on audit (subject_id, created_at desc);
