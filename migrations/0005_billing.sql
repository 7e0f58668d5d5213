-- What users pay for, as Stripe says it. These tables mirror Stripe and are written by one worker, so that pages and
-- limits never wait for Stripe; the plan that holds stands in account.plan_id, so that a turn reads it with the viewer.

alter table plan
  add yearly_cents bigint not null default 0 check (yearly_cents >= 0),
  add currency text not null default 'usd' check (currency ~ '^[a-z]{3}$'),
  add trial_days int not null default 0 check (trial_days between 0 and 730),
  -- Written by `plans push`. A subscription's plan is found by its product: prices change, products stay.
  add stripe_product_id text unique,
  add monthly_price_id text unique,
  add yearly_price_id text unique;
update plan set yearly_cents = 20000, trial_days = 7 where plan_id = 'pro';
update plan set yearly_cents = 100000 where plan_id = 'max';

alter table account
  add stripe_customer_id text,
  -- What an admin gave; a subscription to a larger plan counts beside it.
  add granted_plan_id text references plan;
-- Partial, so that writing the column takes no lock that a turn's foreign keys would wait for.
create unique index account_stripe_customer on account (stripe_customer_id) where stripe_customer_id is not null;
update account set granted_plan_id = plan_id where plan_id <> 'free';

-- One trial per user ever: by subject, so that a new account gets no second one.
create table trial (
  subject text primary key,
  subscription_id text not null,
  began_at timestamptz not null
);

-- Subscriptions as they were when last fetched.
create table subscription (
  subscription_id text primary key,
  customer_id text not null,
  user_id uuid references account on delete set null,
  -- Null where the product belongs to no plan of ours.
  plan_id text references plan,
  status text not null,
  period text not null check (period in ('month', 'year', 'other')),
  amount_minor bigint not null,
  currency text not null,
  -- Discounts or taxes come on top of the amount.
  is_adjusted boolean not null,
  created_at timestamptz not null,
  period_end timestamptz not null,
  -- When it ends, where its end is decided.
  ends_at timestamptz,
  trial_end timestamptz,
  ended_at timestamptz,
  -- While a payment is overdue: how long the plan is kept nevertheless.
  grace_until timestamptz,
  grace_is_over boolean not null default false,
  fetched_at timestamptz not null
);
create index subscription_user on subscription (user_id);
create index subscription_customer on subscription (customer_id);
create index subscription_grace on subscription (grace_until) where status = 'past_due' and not grace_is_over;
create index subscription_trial on subscription (trial_end) where status = 'trialing';

create table invoice (
  invoice_id text primary key,
  customer_id text not null,
  user_id uuid references account on delete set null,
  subscription_id text,
  number text,
  status text not null,
  -- Minor units (cents) of the currency.
  due_minor bigint not null,
  paid_minor bigint not null,
  currency text not null,
  url text,
  created_at timestamptz not null
);
create index invoice_user on invoice (user_id, created_at desc);

-- Checkout pages that were opened, so that only the newest can be paid.
create table checkout (
  session_id text primary key,
  user_id uuid not null references account on delete cascade,
  opened_at timestamptz not null,
  closed_at timestamptz
);
create index checkout_open on checkout (user_id) where closed_at is null;

-- Every event Stripe sent, once. The body is kept as it came: it was signed so.
create table stripe_event (
  event_id text primary key,
  type text not null,
  customer_id text,
  body text not null,
  created_at timestamptz not null,
  received_at timestamptz not null,
  run_at timestamptz not null,
  attempts int not null default 0,
  error text,
  done_at timestamptz,
  dead_at timestamptz
);
create index stripe_event_due on stripe_event (run_at) where done_at is null and dead_at is null;
create index stripe_event_dead on stripe_event (dead_at) where dead_at is not null;
create index stripe_event_done on stripe_event (done_at) where done_at is not null;

-- Work that was decided in a transaction and is done after it: mail, and what must be asked of Stripe.
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

-- What the owner should look at: refunds, disputes, subscriptions nobody here owns.
create table billing_flag (
  kind text not null,
  object_id text not null,
  user_id uuid references account on delete set null,
  amount_minor bigint,
  currency text,
  created_at timestamptz not null,
  cleared_at timestamptz,
  primary key (kind, object_id)
);

-- What comparing with Stripe found and mended.
create table reconciliation (
  began_at timestamptz primary key,
  ended_at timestamptz not null,
  checked bigint not null,
  drift jsonb not null
);

-- Ids of ours at Stripe that belong to no row: the portal's configuration.
create table stripe_setting (
  name text primary key,
  value text not null
);
