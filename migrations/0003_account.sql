-- Accounts, their sessions, and the audit log of admin actions. A session row holds only a hash of the cookie's token, so that a leaked
-- table signs nobody in.

-- "user" is reserved, so this is the one table that is not named after its key.
create table account (
  user_id uuid primary key,
  email text not null constraint account_email_length check (length(email) between 3 and 254),
  name text not null default '' constraint account_name_length check (length(name) <= 80),
  password_hash text not null,
  role text not null default 'member' check (role in ('member', 'admin')),
  plan_id text not null default 'free' references plan,
  -- Granted by an admin; a subscription to a larger plan takes precedence.
  granted_plan_id text references plan,
  -- HMAC of the normalised address at sign-up, never changed. Meters and ledger are keyed by it, so that deleting an account and signing
  -- up again refills nothing.
  subject text not null,
  time_zone text not null default 'UTC',
  stripe_customer_id text,
  -- Since when an admin has paused the account: it can read but not send. Null is active.
  paused_at timestamptz,
  -- Temporary override of the plan's limits, until `limit_until`.
  limit_requests bigint constraint account_limit_requests_positive check (limit_requests > 0),
  limit_tokens bigint constraint account_limit_tokens_positive check (limit_tokens > 0),
  limit_until timestamptz,
  created_at timestamptz not null default now()
);
create unique index account_email_key on account (lower(email));
create index account_subject on account (subject);
-- Partial, so that writing the column takes no lock that a turn's foreign keys would wait for.
create unique index account_stripe_customer on account (stripe_customer_id) where stripe_customer_id is not null;

create table session (
  token_hash bytea primary key,
  user_id uuid references account on delete cascade,
  data jsonb not null,
  expires_at timestamptz not null
);
create index session_account on session (user_id);
create index session_expires_at on session (expires_at);

-- Admin actions: actor, target, the value before and after, and the reason given.
create table audit (
  audit_id uuid primary key,
  actor_id uuid references account on delete set null,
  target_user_id uuid references account on delete set null,
  action text not null,
  before text,
  after text,
  why text,
  created_at timestamptz not null default now()
);
create index audit_target on audit (target_user_id, created_at desc);
create index audit_created on audit (created_at desc);
