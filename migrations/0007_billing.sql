-- Subscriptions, invoices and Stripe events. One worker copies them from Stripe, so that pages and limits never wait for Stripe; the
-- effective plan is `account.plan_id`, so that a turn reads it together with the viewer.

-- One trial per user: keyed by subject, so that a new account gets no second one.
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
  -- Null where the product belongs to none of our plans.
  plan_id text references plan,
  status text not null,
  period text not null check (period in ('month', 'year', 'other')),
  amount_minor bigint not null,
  currency text not null,
  -- Discounts or taxes apply to the amount.
  is_adjusted boolean not null,
  created_at timestamptz not null,
  period_end timestamptz not null,
  -- When it will end, if that is decided.
  ends_at timestamptz,
  trial_end timestamptz,
  ended_at timestamptz,
  -- How long the plan is kept while a payment is overdue.
  grace_until timestamptz,
  grace_is_over boolean not null default false,
  fetched_at timestamptz not null
);
create index subscription_user on subscription (user_id);
create index subscription_customer on subscription (customer_id);
create index subscription_grace on subscription (grace_until) where status = 'past_due' and not grace_is_over;
create index subscription_trial on subscription (trial_end) where status = 'trialing';
create index subscription_other_currency on subscription (currency) where currency <> 'usd';

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
create index invoice_paid on invoice (subscription_id) where paid_minor > 0;

-- Checkout sessions that were opened, so that only the newest can be paid.
create table checkout (
  session_id text primary key,
  user_id uuid not null references account on delete cascade,
  opened_at timestamptz not null,
  closed_at timestamptz
);
create index checkout_open on checkout (user_id) where closed_at is null;

-- Every event received from Stripe, once. The body is stored as received, because its signature covers the exact bytes.
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

-- What needs the owner's attention: refunds, disputes, subscriptions without an account.
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

-- Reconciliation runs and the differences they repaired.
create table reconciliation (
  began_at timestamptz primary key,
  ended_at timestamptz not null,
  checked bigint not null,
  drift jsonb not null
);

-- Ids of Stripe objects that belong to no row here, such as the portal's configuration.
create table stripe_setting (
  name text primary key,
  value text not null
);

-- The price history of each subscription and the part of each interval that is paid for, so that the revenue of a period is one pass and an
-- upgrade never changes a past month. Maintained by triggers.
create table subscription_price (
  subscription_id text not null references subscription on delete cascade,
  -- When this price was first seen; the subscription's creation for the first one.
  begins_at timestamptz not null,
  -- Null for the current price.
  ends_at timestamptz check (ends_at > begins_at),
  -- The user's key in the rollups, kept after the account is deleted.
  subject_id int,
  plan_id text,
  amount_minor bigint not null,
  currency text not null,
  period text not null,
  -- The part of the interval that is paid for. Nothing is where `paid_from` is null; it is open-ended where only `paid_until` is null.
  paid_from timestamptz,
  paid_until timestamptz,
  primary key (subscription_id, begins_at)
);
create unique index subscription_price_now on subscription_price (subscription_id) where ends_at is null;
create index subscription_price_subject on subscription_price (subject_id);

-- Computes which part of a subscription is paid for. Trials are not, nor is a subscription without a paid invoice. An overdue one counts as
-- paid for now; one that is unpaid, paused or ended was paid for until its end or until its last paid period ended, whichever came first.
create function subscription_paid(id text) returns void language sql set timezone = 'UTC' as $$
  update subscription_price p
  set subject_id = coalesce(owner.subject_id, q.subject_id), paid_from = paid.begins_at, paid_until = paid.ends_at
  from subscription s
  left join account a on a.user_id = s.user_id
  left join usage_subject owner on owner.subject = a.subject
  cross join lateral (
    select max(created_at) as at from invoice where subscription_id = s.subscription_id and paid_minor > 0
  ) last
  cross join subscription_price q
  cross join lateral (
    select
      case when last.at is not null then greatest(q.begins_at, s.trial_end) end as begins_at,
      least(
        q.ends_at, s.ended_at,
        case when s.status not in ('active', 'past_due')
             then last.at + case s.period when 'year' then interval '1 year' else interval '1 month' end end) as ends_at
  ) paid
  where s.subscription_id = id and q.subscription_id = id and p.subscription_id = id and p.begins_at = q.begins_at
    and (p.subject_id, p.paid_from, p.paid_until)
      is distinct from (coalesce(owner.subject_id, q.subject_id), paid.begins_at, paid.ends_at)
$$;

create function subscription_price() returns trigger language plpgsql as $$
declare
  costs subscription_price;
begin
  select * into costs from subscription_price where subscription_id = new.subscription_id and ends_at is null;
  if found and (costs.amount_minor, costs.currency, costs.period) is distinct from (new.amount_minor, new.currency, new.period)
      and new.fetched_at > costs.begins_at then
    update subscription_price set ends_at = new.fetched_at where subscription_id = new.subscription_id and ends_at is null;
    costs.begins_at := new.fetched_at;
  end if;
  insert into subscription_price as p (subscription_id, begins_at, subject_id, plan_id, amount_minor, currency, period)
  values (
    new.subscription_id, coalesce(costs.begins_at, new.created_at), costs.subject_id, new.plan_id, new.amount_minor, new.currency, new.period)
  on conflict (subscription_id, begins_at) do update
  set plan_id = excluded.plan_id, amount_minor = excluded.amount_minor, currency = excluded.currency, period = excluded.period
  where (p.plan_id, p.amount_minor, p.currency, p.period)
    is distinct from (excluded.plan_id, excluded.amount_minor, excluded.currency, excluded.period);
  perform subscription_paid(new.subscription_id);
  return null;
end $$;
create trigger subscription_price after insert or update on subscription for each row execute function subscription_price();

create function invoice_paid() returns trigger language plpgsql as $$
begin
  perform subscription_paid(new.subscription_id);
  return null;
end $$;
create trigger invoice_paid after insert or update on invoice for each row when (new.paid_minor > 0) execute function invoice_paid();

-- The prices paid within a period and for how long. Only US dollars, the currency of costs: no exchange rate is known here.
create function subscriptions_paid(period_from timestamptz, period_to timestamptz)
returns table (subject_id int, amount_minor bigint, period text, paid interval)
language sql stable as $$
  select p.subject_id, p.amount_minor, p.period, least(p.paid_until, period_to) - greatest(p.paid_from, period_from)
  from subscription_price p
  where p.currency = 'usd' and p.plan_id is not null and p.period <> 'other'
    and greatest(p.paid_from, period_from) < least(p.paid_until, period_to) and p.paid_from is not null
$$;

-- A price prorated by days, in dollars: a month is a twelfth of 365.25 days.
create function prorated_usd(amount_minor bigint, period text, paid interval) returns numeric
language sql immutable as $$
  select amount_minor * extract(epoch from paid) / case period when 'year' then 3155760000 else 262980000 end
$$;
