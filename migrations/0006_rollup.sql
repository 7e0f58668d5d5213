-- Rollups of the ledger for the owner's pages. The ledger's trigger maintains the sums per user, so that no code path can forget them, and
-- appends to `usage_delta`, which a job folds into the deployment's totals: one shared row per hour would make every turn wait for the
-- others. The same job recomputes `usage_report`, the standard periods of /admin.

-- Short keys for subjects, in order of first appearance: a subject is sixteen times as long.
create table usage_subject (
  subject_id int generated always as identity primary key,
  subject text not null constraint usage_subject_key unique
);

create function account_subject() returns trigger language plpgsql as $$
begin
  insert into usage_subject (subject) values (new.subject) on conflict do nothing;
  return null;
end $$;
create trigger account_subject after insert on account for each row execute function account_subject();

-- Sums per user, model and hour of admission. No indexed column ever changes and each page keeps free space, so an update writes no index.
create table usage_hour (
  subject_id int not null,
  model text not null,
  hour timestamptz not null,
  requests bigint not null,
  calls bigint not null,
  failed bigint not null,
  input_tokens bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  estimated_tokens bigint not null,
  cost_picos bigint not null,
  primary key (subject_id, hour, model)
) with (fillfactor = 80);
create index usage_hour_hour on usage_hour (hour);

-- The same per UTC day.
create table usage_day (
  subject_id int not null,
  model text not null,
  day date not null,
  requests bigint not null,
  calls bigint not null,
  failed bigint not null,
  input_tokens bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  estimated_tokens bigint not null,
  cost_picos bigint not null,
  primary key (subject_id, day, model)
) with (fillfactor = 80);
create index usage_day_day on usage_day (day);

-- Final ledger rows that are not yet part of `usage_total` and `ttft_*`: an append-only queue.
create table usage_delta (
  model text not null,
  hour timestamptz not null,
  requests bigint not null,
  calls bigint not null,
  failed bigint not null,
  input_tokens bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  cost_picos bigint not null,
  ttft_ms int
);

-- Sums of all users per model and hour.
create table usage_total (
  model text not null,
  hour timestamptz not null,
  requests bigint not null,
  calls bigint not null,
  failed bigint not null,
  input_tokens bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  cost_picos bigint not null,
  primary key (hour, model)
);

-- Histograms of the time to first token: how many calls took `ms`, to two significant digits. By hour for two days, by UTC day for good.
create table ttft_hour (
  hour timestamptz not null,
  model text not null,
  ms int not null,
  calls bigint not null,
  primary key (hour, model, ms)
);
create table ttft_day (
  day date not null,
  model text not null,
  ms int not null,
  calls bigint not null,
  primary key (day, model, ms)
);

-- Milliseconds to two significant digits, half up. Rounding is monotonic, so the percentile of rounded values is the rounded percentile.
create function two_digits(ms int) returns int language sql immutable as $$
  select case
    when ms < 100 then ms
    when ms < 1000 then (ms + 5) / 10 * 10
    when ms < 10000 then (ms + 50) / 100 * 100
    when ms < 100000 then (ms + 500) / 1000 * 1000
    else (ms + 5000) / 10000 * 10000
  end
$$;

-- The standard periods, as of the last refresh. The lock on this table serializes refreshes, rebuilds and dropping old months.
create table usage_period (
  period text primary key check (period in ('24h', '7d', '30d', 'month')),
  as_of timestamptz not null,
  -- Users with at least one ledger row, and rows of the report for all models.
  users bigint not null,
  rows bigint not null,
  revenue_picos bigint not null
);

-- Per period: a row per user for all models (model is empty) and a row per user and model.
create table usage_report (
  period text not null,
  model text not null,
  subject_id int not null,
  -- False for users who were only refused.
  is_active boolean not null,
  requests bigint not null,
  input_tokens bigint not null,
  cached_tokens bigint not null,
  output_tokens bigint not null,
  estimated_tokens bigint not null,
  cost_picos bigint not null,
  refusals bigint not null,
  -- What the user's subscriptions pay for the period.
  paid_picos bigint not null,
  primary key (period, model, subject_id)
) with (fillfactor = 70);
create index usage_report_cost on usage_report (period, model, cost_picos desc);

create function usage_add() returns trigger language plpgsql as $$
declare
  id int;
  at timestamptz := date_trunc('hour', new.created_at, 'UTC');
  is_call int := (new.corrects is null)::int;
  is_request int := (new.corrects is null and new.call_no = 1)::int;
  picos bigint := (new.cost_usd * 1000000000000)::bigint;
  -- A call that was never answered says nothing about the accuracy of its estimate.
  estimated bigint := case when new.corrects is null and new.input_tokens + new.cache_read_tokens + new.cache_write_tokens > 0
    then new.estimated_tokens else 0 end;
begin
  select subject_id into id from usage_subject where subject = new.subject;
  if id is null then
    insert into usage_subject (subject) values (new.subject)
      on conflict (subject) do update set subject = excluded.subject returning subject_id into id;
  end if;
  -- One writer per user: two turns that end at once could otherwise update the same rows in opposite order and deadlock.
  perform pg_advisory_xact_lock(7011, id);
  insert into usage_day as u values (
    id, new.model, (new.created_at at time zone 'UTC')::date, is_request, is_call, new.provider_failed::int, new.input_tokens,
    new.cache_read_tokens, new.cache_write_tokens, new.output_tokens, new.reasoning_tokens, estimated, picos)
  on conflict (subject_id, day, model) do update set
    requests = u.requests + excluded.requests, calls = u.calls + excluded.calls, failed = u.failed + excluded.failed,
    input_tokens = u.input_tokens + excluded.input_tokens, cache_read_tokens = u.cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = u.cache_write_tokens + excluded.cache_write_tokens, output_tokens = u.output_tokens + excluded.output_tokens,
    reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens, estimated_tokens = u.estimated_tokens + excluded.estimated_tokens,
    cost_picos = u.cost_picos + excluded.cost_picos;
  insert into usage_hour as u values (
    id, new.model, at, is_request, is_call, new.provider_failed::int, new.input_tokens,
    new.cache_read_tokens, new.cache_write_tokens, new.output_tokens, new.reasoning_tokens, estimated, picos)
  on conflict (subject_id, hour, model) do update set
    requests = u.requests + excluded.requests, calls = u.calls + excluded.calls, failed = u.failed + excluded.failed,
    input_tokens = u.input_tokens + excluded.input_tokens, cache_read_tokens = u.cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = u.cache_write_tokens + excluded.cache_write_tokens, output_tokens = u.output_tokens + excluded.output_tokens,
    reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens, estimated_tokens = u.estimated_tokens + excluded.estimated_tokens,
    cost_picos = u.cost_picos + excluded.cost_picos;
  insert into usage_delta values (
    new.model, at, is_request, is_call, new.provider_failed::int, new.input_tokens, new.cache_read_tokens, new.cache_write_tokens,
    new.output_tokens, new.reasoning_tokens, picos, new.ttft_ms);
  return null;
end $$;
create trigger usage_finalized after update on ai_usage for each row
  when (old.status = 'pending' and new.status <> 'pending') execute function usage_add();
create trigger usage_inserted after insert on ai_usage for each row
  when (new.status <> 'pending') execute function usage_add();

-- Drops the months of the ledger that end before an instant and returns how many. The rollups keep their sums.
create function ai_usage_drop(before timestamptz) returns int language plpgsql as $$
declare
  kept timestamp := date_trunc('month', before at time zone 'UTC');
  part text;
  dropped int := 0;
begin
  -- A rebuild sees either the rows or the date from which they are kept.
  lock table usage_period in exclusive mode;
  for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
              where i.inhparent = 'ai_usage'::regclass and c.relname < 'ai_usage_' || to_char(kept, 'YYYY_MM') order by 1 loop
    execute format('drop table %I', part);
    dropped := dropped + 1;
  end loop;
  update deployment set ledger_from = kept at time zone 'UTC'
  where dropped > 0 and (ledger_from is null or ledger_from < kept at time zone 'UTC');
  return dropped;
end $$;
