-- Plans and deployment-wide switches. A plan is a row, so that adding or changing one needs no code.

create table plan (
  plan_id text primary key check (plan_id ~ '^[a-z][a-z0-9_-]{0,31}$'),
  name text not null,
  sort int not null unique,
  requests_per_minute bigint not null check (requests_per_minute > 0),
  tokens_per_day bigint not null check (tokens_per_day > 0),
  in_flight bigint not null check (in_flight > 0),
  max_output bigint not null check (max_output > 0),
  monthly_cents bigint not null check (monthly_cents >= 0),
  yearly_cents bigint not null default 0 check (yearly_cents >= 0),
  currency text not null default 'usd' check (currency ~ '^[a-z]{3}$'),
  trial_days int not null default 0 check (trial_days between 0 and 730),
  pitch text not null,
  -- Whether users on this plan see what their usage costs.
  shows_cost boolean not null default true,
  -- Written by `plans push`. A subscription's plan is found by its product: prices change, products stay.
  stripe_product_id text unique,
  monthly_price_id text unique,
  yearly_price_id text unique
);

insert into plan (plan_id, name, sort, requests_per_minute, tokens_per_day, in_flight, max_output, monthly_cents, yearly_cents, trial_days, pitch) values
  ('free', 'Free', 1, 10, 50000, 2, 4096, 0, 0, 0, 'To find out whether it suits you.'),
  ('pro', 'Pro', 2, 100, 500000, 6, 16384, 2000, 20000, 7, 'For everyday work, with the larger models.'),
  ('max', 'Max', 3, 300, 3000000, 12, 32768, 10000, 100000, 0, 'For long documents and long days.');

-- Settings of the whole deployment. Always exactly one row.
create table deployment (
  deployment_id boolean primary key default true constraint deployment_is_one check (deployment_id),
  paused boolean not null default false,
  daily_spend_usd numeric(12, 2) constraint deployment_daily_spend_not_negative check (daily_spend_usd >= 0),
  -- Ledger rows older than this may have been dropped; the rollups still include them.
  ledger_from timestamptz
);
insert into deployment default values;
