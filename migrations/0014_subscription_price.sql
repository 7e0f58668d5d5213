-- What subscriptions pay, kept so that a period of twenty thousand of them is added up in one pass: each knows from when until when it
-- pays, and since when it costs what it does. What it cost before stands beside it, so that an upgrade changes no month that is over.

-- Whoever writes what Stripe said waits here; nobody else does.
lock table subscription, invoice in share row exclusive mode;

alter table subscription
  -- When the last of its invoices that were paid was made.
  add last_paid_at timestamptz,
  -- Null while nothing was paid.
  add paid_from timestamptz,
  -- Null while no end of it is known.
  add paid_until timestamptz,
  -- Null while it costs what it did from the beginning.
  add price_since timestamptz;

create table subscription_past_price (
  subscription_id text not null,
  begins_at timestamptz not null,
  ends_at timestamptz not null check (ends_at > begins_at),
  amount_minor bigint not null,
  currency text not null,
  period text not null,
  primary key (subscription_id, begins_at)
);

-- Trials pay nothing, nor does what was never paid; an overdue one pays, as far as anybody knows; one that gave up paying, or was paused,
-- paid until what it last paid for was over.
create function subscription_paid() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    new.last_paid_at := (select max(created_at) from invoice where subscription_id = new.subscription_id and paid_minor > 0);
  elsif (old.amount_minor, old.currency, old.period) is distinct from (new.amount_minor, new.currency, new.period)
      and new.fetched_at > coalesce(old.price_since, old.created_at) then
    insert into subscription_past_price values (
      old.subscription_id, coalesce(old.price_since, old.created_at), new.fetched_at, old.amount_minor, old.currency, old.period);
    new.price_since := new.fetched_at;
  end if;
  new.paid_from := case when new.last_paid_at is not null then greatest(new.created_at, new.trial_end) end;
  new.paid_until := least(
    new.ended_at,
    case when new.status not in ('active', 'past_due', 'canceled')
         then new.last_paid_at + case new.period when 'year' then interval '1 year' else interval '1 month' end end);
  return new;
end $$;
create trigger subscription_paid before insert or update on subscription for each row execute function subscription_paid();

create function invoice_paid() returns trigger language plpgsql as $$
begin
  update subscription set last_paid_at = new.created_at
  where subscription_id = new.subscription_id and (last_paid_at is null or last_paid_at < new.created_at);
  return null;
end $$;
create trigger invoice_paid after insert or update on invoice for each row when (new.paid_minor > 0) execute function invoice_paid();

update subscription s set last_paid_at = i.last
from (select subscription_id, max(created_at) as last from invoice where paid_minor > 0 group by subscription_id) i
where i.subscription_id = s.subscription_id;

-- What subscriptions pay for a span, by its days: a month is a twelfth of 365.25 days. Of accounts that are gone their payments stay, as
-- their costs do. In dollars, as costs are: no rate is known here, so others are left out.
create or replace function subscriptions_pay(span_from timestamptz, span_to timestamptz) returns table (user_id uuid, pays numeric)
language sql stable as $$
  select priced.user_id,
    amount_minor * extract(epoch from least(paid_until, ends_at, span_to) - greatest(paid_from, begins_at, span_from))
    / case period when 'year' then 3155760000 else 262980000 end
  from (
    select s.user_id, s.plan_id, s.paid_from, s.paid_until, s.price_since as begins_at, null as ends_at, s.amount_minor, s.currency, s.period
    from subscription s
    union all
    select s.user_id, s.plan_id, s.paid_from, s.paid_until, p.begins_at, p.ends_at, p.amount_minor, p.currency, p.period
    from subscription_past_price p join subscription s using (subscription_id)
  ) priced
  where plan_id is not null and currency = 'usd' and period <> 'other' and paid_from is not null
    and greatest(paid_from, begins_at, span_from) < least(paid_until, ends_at, span_to)
$$;
