-- What the owner looks at and decides: sums per day beside those per hour, so that a month is read from few rows; limits of one
-- user's own until a date; a user who is paused; and why each act was done.

-- Whoever ends a turn while this runs waits here, before they hold anything that is wanted below.
lock table ai_usage in share row exclusive mode;

create table usage_day (
  subject text not null,
  model text not null,
  -- UTC; a user's days in their own zone come from their raw rows
  day date not null,
  requests bigint not null default 0,
  input_tokens bigint not null default 0,
  cached_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  estimated_tokens bigint not null default 0,
  cost_usd numeric(20, 12) not null default 0,
  -- the same in whole picodollars: a sum over a million of these takes half the time
  cost_picos bigint not null generated always as ((cost_usd * 1000000000000)::bigint) stored,
  primary key (subject, model, day)
);
alter table usage_hour
  add column cost_picos bigint not null generated always as ((cost_usd * 1000000000000)::bigint) stored;

create or replace function usage_hour_add() returns trigger language plpgsql as $$
declare
  request int := (new.corrects is null and new.call_no = 1)::int;
  -- a call that nobody answered says nothing about the estimate of its input
  estimated bigint := case when new.corrects is null and new.input_tokens + new.cache_read_tokens + new.cache_write_tokens > 0
    then new.estimated_tokens else 0 end;
begin
  insert into usage_hour as u (subject, model, hour, requests, calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
                               reasoning_tokens, estimated_tokens, cost_usd)
  values (new.subject, new.model, date_trunc('hour', new.created_at, 'UTC'), request, (new.corrects is null)::int, new.input_tokens,
          new.cache_read_tokens, new.cache_write_tokens, new.output_tokens, new.reasoning_tokens, estimated, new.cost_usd)
  on conflict (subject, model, hour) do update set
    requests = u.requests + excluded.requests, calls = u.calls + excluded.calls,
    input_tokens = u.input_tokens + excluded.input_tokens, cache_read_tokens = u.cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = u.cache_write_tokens + excluded.cache_write_tokens, output_tokens = u.output_tokens + excluded.output_tokens,
    reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens, estimated_tokens = u.estimated_tokens + excluded.estimated_tokens,
    cost_usd = u.cost_usd + excluded.cost_usd;
  insert into usage_day as u (subject, model, day, requests, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
                              estimated_tokens, cost_usd)
  values (new.subject, new.model, (new.created_at at time zone 'UTC')::date, request, new.input_tokens,
          new.cache_read_tokens + new.cache_write_tokens, new.output_tokens, new.reasoning_tokens, estimated, new.cost_usd)
  on conflict (subject, model, day) do update set
    requests = u.requests + excluded.requests, input_tokens = u.input_tokens + excluded.input_tokens,
    cached_tokens = u.cached_tokens + excluded.cached_tokens, output_tokens = u.output_tokens + excluded.output_tokens,
    reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens, estimated_tokens = u.estimated_tokens + excluded.estimated_tokens,
    cost_usd = u.cost_usd + excluded.cost_usd;
  return null;
end $$;

-- Makes both sums anew from the ledger's rows. What the server calls `usage rebuild`, and what a test compares the triggers with.
create function usage_rebuild() returns void language plpgsql as $$
begin
  -- Whoever ends a turn now waits, so that nothing is counted twice or missed.
  lock table ai_usage, usage_hour, usage_day in share row exclusive mode;
  delete from usage_hour;
  delete from usage_day;
  insert into usage_hour (subject, model, hour, requests, calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
                          reasoning_tokens, estimated_tokens, cost_usd)
  select subject, model, date_trunc('hour', created_at, 'UTC'), count(*) filter (where corrects is null and call_no = 1),
         count(*) filter (where corrects is null), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
         sum(output_tokens), sum(reasoning_tokens), coalesce(sum(estimated_tokens) filter (where corrects is null and input_tokens + cache_read_tokens + cache_write_tokens > 0), 0),
         sum(cost_usd)
  from ai_usage where status <> 'pending' group by 1, 2, 3 order by 3, 1;
  insert into usage_day (subject, model, day, requests, input_tokens, cached_tokens, output_tokens, reasoning_tokens, estimated_tokens,
                         cost_usd)
  select subject, model, (hour at time zone 'UTC')::date, sum(requests), sum(input_tokens), sum(cache_read_tokens + cache_write_tokens),
         sum(output_tokens), sum(reasoning_tokens), sum(estimated_tokens), sum(cost_usd)
  from usage_hour group by 1, 2, 3 order by 3, 1;
end $$;
select usage_rebuild();

-- The owner's tables are read from these without going to the rows.
create index usage_day_day on usage_day (day)
  include (subject, model, requests, input_tokens, cached_tokens, output_tokens, estimated_tokens, cost_picos);
drop index usage_hour_hour;
create index usage_hour_hour on usage_hour (hour)
  include (subject, model, requests, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, estimated_tokens, cost_picos);

alter table account
  -- since when an admin lets them read and not ask; null lets them ask
  add column paused_at timestamptz,
  -- limits of their own until an instant, instead of their plan's
  add column limit_requests bigint constraint account_limit_requests_positive check (limit_requests > 0),
  add column limit_tokens bigint constraint account_limit_tokens_positive check (limit_tokens > 0),
  add column limit_until timestamptz;

alter table audit add column why text;
create index audit_created on audit (created_at desc);

-- What a user's subscriptions pay for a span, by its days: a month is a twelfth of 365.25 days. Trials pay nothing, nor does what was
-- never paid; an overdue one pays, as far as anybody knows. In the currency's main unit, as prices are.
create function user_pays(target_id uuid, span_from timestamptz, span_to timestamptz) returns numeric language sql stable as $$
  select coalesce(sum(
    s.amount_minor / 100.0
    * extract(epoch from greatest(least(coalesce(s.ended_at, span_to), span_to) - greatest(s.created_at, coalesce(s.trial_end, s.created_at), span_from), interval '0'))
    / case s.period when 'year' then 31557600 else 2629800 end
  ), 0)
  from subscription s
  where s.user_id = target_id and s.status in ('active', 'past_due', 'canceled') and s.period <> 'other'
    and exists (select from invoice i where i.subscription_id = s.subscription_id and i.paid_minor > 0)
$$;
