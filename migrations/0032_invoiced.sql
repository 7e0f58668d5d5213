-- Revenue was counted at list price even where a coupon, an inclusive tax or a credit note made the invoice smaller (field note 90). The
-- difference is kept per subscription for the time that each smaller invoice pays for, and subtracted from the prorated price.
--
-- Names of users, API keys and passkeys may no longer contain characters that change the direction of text or are invisible (field note 93),
-- so existing ones lose them.

alter table invoice
  -- What it would have charged: prices times quantities and prorations, before discounts, with inclusive taxes. Minor units of the currency.
  -- Null where it isn't known: for invoices that were last fetched by an earlier release.
  add column list_minor bigint,
  -- What it charges without taxes, after discounts and credit notes. Null where it isn't known.
  add column net_minor bigint,
  add constraint invoice_amounts check ((list_minor is null) = (net_minor is null));

-- The parts of a subscription's life whose invoice charged less than list prices. Maintained by a trigger on `invoice`, which may be written
-- before its subscription.
create table subscription_discount (
  subscription_id text not null,
  -- `-infinity` for the first invoice, `infinity` for the latest.
  begins_at timestamptz not null,
  ends_at timestamptz not null check (ends_at > begins_at),
  -- The invoice's amounts; their quotient is the part of the list price that was charged.
  list_minor bigint not null check (list_minor > 0),
  net_minor bigint not null check (net_minor >= 0 and net_minor < list_minor),
  primary key (subscription_id, begins_at)
);

-- Computes the discounts of a subscription from its invoices. Each invoice counts until the next one. Invoices that charge no price, such as
-- those of a trial or a downgrade, change nothing; neither do drafts and invoices that were withdrawn. An unknown amount is the list price.
create function subscription_discounts(id text) returns void language sql as $$
  delete from subscription_discount where subscription_id = id;
  insert into subscription_discount (subscription_id, begins_at, ends_at, list_minor, net_minor)
  select id, begins_at, ends_at, list_minor, net_minor
  from (
    select list_minor, greatest(net_minor, 0) as net_minor,
           case when lag(created_at) over invoices is null then '-infinity' else created_at end as begins_at,
           coalesce(lead(created_at) over invoices, 'infinity') as ends_at
    from (
      -- Of invoices of the same second, the last one counts.
      select distinct on (created_at) created_at, list_minor, net_minor
      from invoice
      where subscription_id = id and status in ('open', 'paid') and coalesce(list_minor, due_minor) > 0
      order by created_at, invoice_id desc
    ) charged
    window invoices as (order by created_at)
  ) stretches
  where net_minor < list_minor
$$;

create function invoice_discount() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and (old.status, old.list_minor, old.net_minor) is not distinct from (new.status, new.list_minor, new.net_minor) then
    return null;
  end if;
  -- Most subscriptions never have a discount.
  if new.net_minor < new.list_minor
      or exists (select from subscription_discount where subscription_id = new.subscription_id) then
    perform subscription_discounts(new.subscription_id);
  end if;
  return null;
end $$;
create trigger invoice_discount after insert or update on invoice
  for each row when (new.subscription_id is not null) execute function invoice_discount();

-- The prices paid within a period and for how long, and what discounts take off them as negative prices. Discounted prices are rounded to
-- whole cents, as on invoices. Only US dollars, the currency of costs: no exchange rate is known here.
create or replace function subscriptions_paid(period_from timestamptz, period_to timestamptz)
returns table (subject_id int, amount_minor bigint, period text, paid interval)
language sql stable as $$
  with paid as (
    select p.subscription_id, p.subject_id, p.amount_minor, p.period,
           greatest(p.paid_from, period_from) as begins_at, least(p.paid_until, period_to) as ends_at
    from subscription_price p
    where p.currency = 'usd' and p.plan_id is not null and p.period <> 'other'
      and greatest(p.paid_from, period_from) < least(p.paid_until, period_to) and p.paid_from is not null
  )
  select subject_id, amount_minor, period, ends_at - begins_at from paid
  union all
  select p.subject_id, round(p.amount_minor::numeric * d.net_minor / d.list_minor)::bigint - p.amount_minor, p.period,
         least(p.ends_at, d.ends_at) - greatest(p.begins_at, d.begins_at)
  from paid p
  join subscription_discount d using (subscription_id)
  where greatest(p.begins_at, d.begins_at) < least(p.ends_at, d.ends_at)
$$;

-- Unicode's category Cf, without the joiners U+200C and U+200D, which words of some scripts need.
create function cleaned_name(name text) returns text language sql immutable as $$
  select regexp_replace(name, '[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb'
    || '\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]', '', 'g')
$$;
update account set name = cleaned_name(name) where name <> cleaned_name(name);
update api_key set name = coalesce(nullif(trim(cleaned_name(name)), ''), 'API key') where name <> cleaned_name(name);
update passkey set name = coalesce(nullif(trim(cleaned_name(name)), ''), 'Passkey') where name <> cleaned_name(name);
drop function cleaned_name(text);

select grant_app_role();
