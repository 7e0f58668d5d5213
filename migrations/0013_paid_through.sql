-- What subscriptions pay for a span, by its days: a month is a twelfth of 365.25 days. Trials pay nothing, nor does what was never paid;
-- an overdue one pays, as far as anybody knows; one that gave up paying, or was paused, paid until what it last paid for was over. Of
-- accounts that are gone their payments stay, as their costs do. In dollars, as costs are: no rate is known here, so others are left out.
-- The price is the one that holds now: an upgrade counts from the subscription's beginning.
create or replace function subscriptions_pay(span_from timestamptz, span_to timestamptz) returns table (user_id uuid, pays numeric)
language sql stable as $$
  select s.user_id,
    s.amount_minor / 100.0
    * extract(epoch from greatest(
        least(span_to, coalesce(s.ended_at, span_to),
              case when s.status in ('active', 'past_due', 'canceled') then span_to
                   else (select max(i.created_at) from invoice i where i.subscription_id = s.subscription_id and i.paid_minor > 0)
                        + case s.period when 'year' then interval '1 year' else interval '1 month' end end)
        - greatest(s.created_at, coalesce(s.trial_end, s.created_at), span_from), interval '0'))
    / case s.period when 'year' then 31557600 else 2629800 end
  from subscription s
  where s.currency = 'usd' and s.plan_id is not null and s.period <> 'other'
    and exists (select from invoice i where i.subscription_id = s.subscription_id and i.paid_minor > 0)
$$;
