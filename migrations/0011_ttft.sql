-- What the owner wants to know and to set beside sums: the time to first token, whether it was the provider who failed, how long
-- single calls are kept, which plans show what use costs. Nothing here looks at a row, so that nobody waits for it.

alter table ai_usage
  -- milliseconds from asking the provider to its time to first token; null where none came
  add column ttft_ms int,
  -- whether its provider didn't answer, or not to the end; a stop and a restart of ours are no failures of theirs
  add column provider_failed boolean not null default false;
alter table deployment
  -- what came before may have been dropped; the sums know it still
  add column ledger_from timestamptz;
alter table plan
  -- whether users on it see what their use costs
  add column shows_cost boolean not null default true;

-- What is read for every page of the owner's.
create index invoice_paid on invoice (subscription_id) where paid_minor > 0;
create index refusal_hour_hour on refusal_hour (hour);

-- What subscriptions pay for a span, by its days: a month is a twelfth of 365.25 days. Trials pay nothing, nor does what was never paid;
-- an overdue one pays, as far as anybody knows. In dollars, as costs are: no rate is known here, so others are left out.
create function subscriptions_pay(span_from timestamptz, span_to timestamptz) returns table (user_id uuid, pays numeric)
language sql stable as $$
  select s.user_id,
    s.amount_minor / 100.0
    * extract(epoch from greatest(least(coalesce(s.ended_at, span_to), span_to) - greatest(s.created_at, coalesce(s.trial_end, s.created_at), span_from), interval '0'))
    / case s.period when 'year' then 31557600 else 2629800 end
  from subscription s
  where s.currency = 'usd' and s.status in ('active', 'past_due', 'canceled') and s.period <> 'other'
    and exists (select from invoice i where i.subscription_id = s.subscription_id and i.paid_minor > 0)
$$;
drop function user_pays(uuid, timestamptz, timestamptz);
