-- A credit note for the unused time of a subscription that was canceled early counted as a discount of the time before, so that its revenue was too
-- low: only the ratio of an invoice was stored, not what was credited (field note 90).

alter table invoice
  -- What credit notes took off, without taxes; `net_minor` is without it. Zero for invoices that were last fetched by an earlier release.
  add column credited_minor bigint not null default 0;

-- As before, except for invoices of the period in which the subscription ended: they also charged for the rest of the period, so only what credit
-- notes took off beyond that is a discount.
create or replace function subscription_discounts(id text) returns void language sql set timezone = 'UTC' as $$
  delete from subscription_discount where subscription_id = id;
  insert into subscription_discount (subscription_id, begins_at, ends_at, list_minor, net_minor)
  select id, begins_at, ends_at, list_minor, net_minor
  from (
    select list_minor, greatest(net_minor, 0) as net_minor,
           case when lag(created_at) over invoices is null then '-infinity' else created_at end as begins_at,
           coalesce(lead(created_at) over invoices, 'infinity') as ends_at
    from (
      -- Of invoices of the same second, the last one counts.
      select distinct on (i.created_at) i.created_at, i.list_minor,
             case
               -- Invoices may be created a little before their period. At most what was charged before the credit notes counts.
               when i.credited_minor > 0 and i.created_at < s.ended_at and s.ended_at < s.period_end
                    and i.created_at >= s.period_end - case s.period when 'year' then interval '1 year' else interval '1 month' end - interval '1 day'
               then least(
                 i.net_minor + i.credited_minor,
                 round(i.net_minor * extract(epoch from s.period_end - i.created_at) / extract(epoch from s.ended_at - i.created_at))::bigint)
               else i.net_minor
             end as net_minor
      from invoice i
      left join subscription s using (subscription_id)
      where i.subscription_id = id and i.status in ('open', 'paid') and coalesce(i.list_minor, i.due_minor) > 0
      order by i.created_at, i.invoice_id desc
    ) charged
    window invoices as (order by created_at)
  ) stretches
  where net_minor < list_minor
$$;

create or replace function invoice_discount() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and (old.status, old.list_minor, old.net_minor, old.credited_minor)
      is not distinct from (new.status, new.list_minor, new.net_minor, new.credited_minor) then
    return null;
  end if;
  -- Most subscriptions never have a discount.
  if new.net_minor < new.list_minor
      or exists (select from subscription_discount where subscription_id = new.subscription_id) then
    perform subscription_discounts(new.subscription_id);
  end if;
  return null;
end $$;

-- The end of a subscription may be written before or after the credit note.
create function subscription_discount() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and (old.ended_at, old.period_end, old.period) is not distinct from (new.ended_at, new.period_end, new.period) then
    return null;
  end if;
  if exists (select from invoice where subscription_id = new.subscription_id and credited_minor > 0) then
    perform subscription_discounts(new.subscription_id);
  end if;
  return null;
end $$;
create trigger subscription_discount after insert or update on subscription for each row execute function subscription_discount();
