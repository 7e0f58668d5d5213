-- Background work and alerts.

-- Work that was decided in a transaction and is done after it: mail, and requests to Stripe.
create table job (
  job_id uuid primary key,
  kind text not null,
  -- Jobs with the same key are one job.
  key text unique,
  payload jsonb not null,
  created_at timestamptz not null,
  run_at timestamptz not null,
  attempts int not null default 0,
  error text,
  done_at timestamptz,
  dead_at timestamptz
);
create index job_due on job (run_at) where done_at is null and dead_at is null;

-- Alerts to the owner, by mail and webhook: one message when the condition begins, one when it ends. `kind` and `about` identify it.
create table alert (
  alert_id uuid primary key,
  kind text not null,
  about text not null,
  message text not null,
  began_at timestamptz not null,
  -- When a server last saw the condition. One that only a single server can see ends once it has not been seen for a while.
  seen_at timestamptz not null,
  ended_at timestamptz
);
create unique index alert_open on alert (kind, about) where ended_at is null;
create index alert_began on alert (began_at desc);
