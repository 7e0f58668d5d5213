-- What each subscription costs from when until when, and which part of that is paid for: a period of twenty thousand of them is added up in
-- one pass, and an upgrade changes no month that is over. Kept by triggers, so that whoever writes what Stripe said keeps it.

-- Whoever writes what Stripe said waits here, in the order in which they write; whoever reads it goes on.
lock table invoice, subscription in share row exclusive mode;

create table subscription_price (
  subscription_id text not null references subscription on delete cascade,
  -- When it was first seen to cost this; its own beginning for the first.
  begins_at timestamptz not null,
  -- Null while it does.
  ends_at timestamptz check (ends_at > begins_at),
  -- Whose costs stand beside it, also once their account is gone.
  subject_id int,
  plan_id text,
  amount_minor bigint not null,
  currency text not null,
  period text not null,
  -- The part of that time which is paid for; it never began where this is null, and has no end yet where the second alone is.
  paid_from timestamptz,
  paid_until timestamptz,
  primary key (subscription_id, begins_at)
);
create unique index subscription_price_now on subscription_price (subscription_id) where ends_at is null;
create index subscription_price_subject on subscription_price (subject_id);

-- Finds which part of a subscription is paid for. Trials aren't, nor is what was never paid; an overdue one is, as far as anybody knows; one
-- that gave up paying, was paused or is over was paid for until its end or until what it last paid for was over, whichever came first.
create function subscription_paid(id text) returns void language sql set timezone = 'UTC' as $$
  update subscription_price p
  set subject_id = coalesce(who.subject_id, q.subject_id), paid_from = paid.begins_at, paid_until = paid.ends_at
  from subscription s
  left join account a on a.user_id = s.user_id
  left join usage_subject who on who.subject = a.subject
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
      is distinct from (coalesce(who.subject_id, q.subject_id), paid.begins_at, paid.ends_at)
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

-- What is known: today's price, from the beginning on.
insert into subscription_price (subscription_id, begins_at, plan_id, amount_minor, currency, period)
select subscription_id, created_at, plan_id, amount_minor, currency, period from subscription;
select subscription_paid(subscription_id) from subscription;

-- Which prices subscriptions pay in a span, and for how long. In dollars, as costs are: no rate is known here, so others are left out.
create function subscriptions_paid(span_from timestamptz, span_to timestamptz)
returns table (subject_id int, amount_minor bigint, period text, paid interval)
language sql stable as $$
  select p.subject_id, p.amount_minor, p.period, least(p.paid_until, span_to) - greatest(p.paid_from, span_from)
  from subscription_price p
  where p.currency = 'usd' and p.plan_id is not null and p.period <> 'other'
    and greatest(p.paid_from, span_from) < least(p.paid_until, span_to) and p.paid_from is not null
$$;

-- What a price comes to over some time, by its days: a month is a twelfth of 365.25 days.
create function price_over(amount_minor bigint, period text, paid interval) returns numeric
language sql immutable as $$
  select amount_minor * extract(epoch from paid) / case period when 'year' then 3155760000 else 262980000 end
$$;

drop function subscriptions_pay;
create index subscription_other_currency on subscription (currency) where currency <> 'usd';
