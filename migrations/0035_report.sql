-- A refresh of the report summed every period again: four seconds at ten million calls. Now it adds only new calls, for which rows of the queue
-- have their subject, and sums a period again only once its beginning has moved. The sums of all rows are stored too. Each subject stores the
-- account that reports show for it: looking it up for every account took most of the time of a page that is filtered by plan.

alter table usage_delta
  -- Null for rows that were queued before this migration.
  add column subject_id int,
  add column estimated_tokens bigint not null default 0;

alter table usage_period
  -- Where the period began at the last refresh that knew this column. Null sums the period again.
  add column began_at timestamptz;

-- As before, and appends the subject and the estimate to `usage_delta`.
create or replace function usage_add() returns trigger language plpgsql as $$
declare
  id int;
  summed text := summed_subject(new.purpose, new.subject);
  at timestamptz := date_trunc('hour', new.created_at, 'UTC');
  is_call int := (new.corrects is null)::int;
  is_request int := (new.corrects is null and new.call_no = 1)::int;
  picos bigint := (new.cost_usd * 1000000000000)::bigint;
  -- A call that was never answered says nothing about the accuracy of its estimate.
  estimated bigint := case when new.corrects is null and new.input_tokens + new.cache_read_tokens + new.cache_write_tokens > 0
    then new.estimated_tokens else 0 end;
  saved bigint := 0;
begin
  select subject_id into id from usage_subject where subject = summed;
  if id is null then
    insert into usage_subject (subject) values (summed)
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
  if new.cache_read_tokens <> 0 or new.cache_write_tokens <> 0 then
    select cache_saving_picos(p, new.cache_read_tokens, new.cache_write_tokens, new.cache_write_long_tokens)::bigint into saved
    from model_price p where p.model_price_id = new.model_price_id;
  end if;
  insert into usage_delta (
    model, hour, requests, calls, failed, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_picos,
    ttft_ms, saved_picos, subject_id, estimated_tokens)
  values (
    new.model, at, is_request, is_call, new.provider_failed::int, new.input_tokens, new.cache_read_tokens, new.cache_write_tokens,
    new.output_tokens, new.reasoning_tokens, picos, new.ttft_ms, saved, id, estimated);
  return null;
end $$;

-- Sums of all rows of a period and model, so that a page without filters doesn't compute them. Those of an earlier `as_of` than the period's
-- are out of date: the previous release doesn't write them.
create table usage_report_total (
  period text not null,
  model text not null,
  as_of timestamptz not null,
  -- Rows of the report, and those of users with usage, without the demo.
  rows bigint not null,
  users bigint not null,
  requests bigint not null,
  input_tokens bigint not null,
  cached_tokens bigint not null,
  output_tokens bigint not null,
  cost_picos bigint not null,
  primary key (period, model)
);

-- No query uses it, and without it the updates of a refresh write no index.
drop index usage_report_cost;

-- A custom period is summed by two processes.
alter function subscriptions_paid(timestamptz, timestamptz) parallel safe;
alter function prorated_usd(bigint, text, interval) parallel safe;
alter function reported_subject(account) parallel safe;

alter table usage_subject
  -- The account that reports show for the subject, as in `reported_account`. Null if it has none.
  add column user_id uuid;
update usage_subject s set user_id = r.user_id from reported_account r where r.subject = s.subject;
create index account_plan on account (plan_id, user_id);

-- Updates the account of each subject that this account has or had.
create function account_names_subjects() returns trigger language plpgsql as $$
declare
  subjects text[] := array[old.subject, old.former_subject, new.subject, new.former_subject];
begin
  -- The next statement sees what another account of the same subject has committed.
  perform from usage_subject where subject = any(subjects) order by subject_id for update;
  update usage_subject s
  set user_id = (select r.user_id from reported_account r where r.subject = s.subject)
  where s.subject = any(subjects)
    and s.user_id is distinct from (select r.user_id from reported_account r where r.subject = s.subject);
  return null;
end $$;
-- Triggers of one event run in the order of their names: `account_subject` has inserted a new account's subject before.
create trigger account_subjects_named after insert or delete or update of subject, former_subject on account
  for each row execute function account_names_subjects();

select grant_app_role();
