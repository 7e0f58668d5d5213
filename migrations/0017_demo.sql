-- The live demo on the landing page: calls of visitors without an account, each with a ledger row like any other. The row's subject is a keyed
-- hash of the visitor's address, which limits what one address can use. Reports don't list addresses: the rollups sum all of these calls
-- under one subject, 'demo'.

alter table ai_usage
  drop constraint ai_usage_purpose_check,
  add constraint ai_usage_purpose_check check (purpose in ('chat', 'title', 'summary', 'tool', 'api', 'demo')),
  add constraint ai_usage_demo_has_no_user check (purpose <> 'demo' or user_id is null);

-- The subject under which the rollups sum a row of the ledger. No account has it: theirs are hashes.
create function summed_subject(purpose text, subject text) returns text language sql immutable as $$
  select case purpose when 'demo' then 'demo' else subject end
$$;

-- As before, except that the demo has one subject.
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
  insert into usage_delta values (
    new.model, at, is_request, is_call, new.provider_failed::int, new.input_tokens, new.cache_read_tokens, new.cache_write_tokens,
    new.output_tokens, new.reasoning_tokens, picos, new.ttft_ms, saved);
  return null;
end $$;
