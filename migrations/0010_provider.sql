-- Providers as data: an endpoint is a row, so that adding an OpenAI-compatible server needs no code. Keys stay in the environment; a row
-- only names the variable, and only variables that end in _API_KEY can be named, so that no row can send another secret away.

create table provider (
  provider text primary key constraint provider_name check (provider ~ '^[a-z0-9][a-z0-9._-]{0,39}$'),
  label text not null constraint provider_label check (length(label) between 1 and 80),
  wire_format text not null check (wire_format in ('anthropic', 'openai', 'demo')),
  -- Null is the wire format's default.
  base_url text constraint provider_base_url check (base_url ~ '^https?://'),
  key_variable text constraint provider_key_variable check (key_variable ~ '^[A-Z][A-Z0-9_]{0,60}_API_KEY$'),
  -- Null is the deployment's own setting.
  connect_timeout_ms int constraint provider_connect_timeout check (connect_timeout_ms between 1 and 600000),
  first_byte_timeout_ms int constraint provider_first_byte_timeout check (first_byte_timeout_ms between 1 and 3600000),
  idle_timeout_ms int constraint provider_idle_timeout check (idle_timeout_ms between 1 and 3600000),
  -- Calls at once per server; null is unlimited.
  max_in_flight int constraint provider_max_in_flight check (max_in_flight > 0)
);

insert into provider (provider, label, wire_format, key_variable) values
  ('anthropic', 'Anthropic', 'anthropic', 'ANTHROPIC_API_KEY'),
  ('openai', 'OpenAI', 'openai', 'OPENAI_API_KEY'),
  ('demo', 'Demo', 'demo', null);

-- Models with a base URL of their own become models of a provider with that URL.
insert into provider (provider, label, wire_format, base_url)
select 'server-' || row_number() over (order by base_url), left(base_url, 80), 'openai', base_url
from (select distinct base_url from model where provider = 'openai' and base_url ~ '^https?://') endpoint;

alter table model drop constraint model_provider_check;
update model m set provider = p.provider from provider p where m.provider = 'openai' and p.base_url = m.base_url;
-- `model.base_url` is no longer read. It stays because the previous release still reads it while this migration is applied.
alter table model
  add foreign key (provider) references provider,
  -- The request field for the output limit; null until it is set or learned.
  add column output_limit text constraint model_output_limit check (output_limit in ('max_tokens', 'max_completion_tokens')),
  -- Whether it reasons before it answers; reasoning that isn't streamed is billed all the same.
  add column thinking text not null default 'none' constraint model_thinking check (thinking in ('none', 'optional', 'always')),
  -- Reasoning efforts that can be requested, lowest first.
  add column efforts text[] not null default '{}',
  -- The smallest prompt that is cached at an explicit breakpoint; null has no explicit breakpoints.
  add column min_cacheable bigint constraint model_min_cacheable check (min_cacheable > 0),
  add column first_byte_timeout_ms int constraint model_first_byte_timeout check (first_byte_timeout_ms between 1 and 3600000),
  add column idle_timeout_ms int constraint model_idle_timeout check (idle_timeout_ms between 1 and 3600000),
  -- The day on which its provider switches it off, as far as announced.
  add column ends_at date;

alter table model_price rename column cache_write_1h_micros_per_million to cache_write_long_micros_per_million;

-- `cache_write_tokens` are all cache writes; this is the part with the longer lifetime.
alter table ai_usage
  add column cache_write_long_tokens bigint not null default 0,
  add constraint ai_usage_long_write_is_a_write check (corrects is not null or cache_write_long_tokens between 0 and cache_write_tokens);
alter table ai_usage drop constraint ai_usage_status_check;
alter table ai_usage add constraint ai_usage_status_check
  check (status in ('pending', 'finished', 'stopped', 'truncated', 'refused', 'filtered', 'failed', 'lost'));
alter table ai_usage drop constraint ai_usage_purpose_check;
alter table ai_usage add constraint ai_usage_purpose_check check (purpose in ('chat', 'title', 'summary', 'tool', 'api'));

-- What prompt caching saves, in picodollars: the difference to the same tokens at the input price. Negative while less is read from a
-- cache than was written to it.
create function cache_saving_picos(p model_price, cache_read bigint, cache_write bigint, cache_write_long bigint) returns numeric
language sql immutable as $$
  select cache_read::numeric * (p.input_micros_per_million - coalesce(p.cache_read_micros_per_million, p.input_micros_per_million))
    - (cache_write - cache_write_long)::numeric
      * (coalesce(p.cache_write_micros_per_million, p.input_micros_per_million) - p.input_micros_per_million)
    - cache_write_long::numeric
      * (coalesce(p.cache_write_long_micros_per_million, p.cache_write_micros_per_million, p.input_micros_per_million)
         - p.input_micros_per_million)
$$;

-- Its sums of all users per model and hour, folded from `usage_delta` like `usage_total`. A table of its own, because the previous release
-- reads every column of `usage_total`.
create table cache_saving (
  model text not null,
  hour timestamptz not null,
  picos bigint not null,
  primary key (hour, model)
);
alter table usage_delta add column saved_picos bigint not null default 0;
insert into cache_saving (model, hour, picos)
select u.model, date_trunc('hour', u.created_at, 'UTC'),
       sum(cache_saving_picos(p, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_long_tokens))::bigint
from ai_usage u join model_price p using (model_price_id)
where u.status <> 'pending' and (u.cache_read_tokens <> 0 or u.cache_write_tokens <> 0)
group by 1, 2;

-- As before, and appends the saving to `usage_delta`.
create or replace function usage_add() returns trigger language plpgsql as $$
declare
  id int;
  at timestamptz := date_trunc('hour', new.created_at, 'UTC');
  is_call int := (new.corrects is null)::int;
  is_request int := (new.corrects is null and new.call_no = 1)::int;
  picos bigint := (new.cost_usd * 1000000000000)::bigint;
  -- A call that was never answered says nothing about the accuracy of its estimate.
  estimated bigint := case when new.corrects is null and new.input_tokens + new.cache_read_tokens + new.cache_write_tokens > 0
    then new.estimated_tokens else 0 end;
  saved bigint := 0;
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
  if new.cache_read_tokens <> 0 or new.cache_write_tokens <> 0 then
    select cache_saving_picos(p, new.cache_read_tokens, new.cache_write_tokens, new.cache_write_long_tokens)::bigint into saved
    from model_price p where p.model_price_id = new.model_price_id;
  end if;
  insert into usage_delta values (
    new.model, at, is_request, is_call, new.provider_failed::int, new.input_tokens, new.cache_read_tokens, new.cache_write_tokens,
    new.output_tokens, new.reasoning_tokens, picos, new.ttft_ms, saved);
  return null;
end $$;

alter table message drop constraint message_status_check;
alter table message add constraint message_status_check
  check (status in ('finished', 'stopped', 'truncated', 'refused', 'filtered', 'tool_call', 'failed'));
-- The model's reasoning, in plain text.
alter table message add column reasoning text not null default '';

-- What happened to the oldest messages of a conversation that no longer fits its model.
alter table turn add column history_cut text constraint turn_history_cut check (history_cut in ('summarized', 'dropped'));

-- The newest summary of a conversation's oldest messages, up to and including `until_message_id`.
create table conversation_summary (
  conversation_id uuid primary key references conversation on delete cascade,
  until_message_id uuid not null,
  body text not null,
  created_at timestamptz not null
);

-- Models and prices of 2026-11-26. The older models keep their rows and history; an owner can switch them on again. Models, prices and plan
-- entries that an owner has already added are kept.
update model set ends_at = date '2026-12-11' where model = 'gpt-5-mini';
update model set ends_at = date '2027-01-14' where model = 'gpt-4o-mini';
update model set enabled = false where model in ('claude-haiku-4-5', 'claude-opus-4-7', 'gpt-5.4-mini', 'gpt-5.4', 'gpt-5-mini', 'gpt-4o-mini');
update model set thinking = 'optional', min_cacheable = 1024 where model = 'claude-sonnet-4-6';
update model set thinking = 'optional', min_cacheable = 4096 where model = 'claude-haiku-4-5';
update model set thinking = 'optional', min_cacheable = 1024 where model = 'claude-opus-4-7';
update model set thinking = 'optional', output_limit = 'max_completion_tokens', efforts = '{low,medium,high}'
where model in ('gpt-5-mini', 'gpt-5.4-mini', 'gpt-5.4');
update model set output_limit = 'max_completion_tokens' where model = 'gpt-4o-mini';
update model set sort = sort + 10;

insert into model (model, label, provider, context, max_output, sort, thinking, efforts, min_cacheable, output_limit, idle_timeout_ms) values
  ('claude-haiku-5-5', 'Claude Haiku 5.5', 'anthropic', 1000000, 128000, 1, 'optional', '{}', 512, null, 300000),
  ('claude-sonnet-5-5', 'Claude Sonnet 5.5', 'anthropic', 1000000, 128000, 2, 'always', '{}', 512, null, 300000),
  ('claude-opus-5-5', 'Claude Opus 5.5', 'anthropic', 1000000, 128000, 3, 'always', '{}', 512, null, 300000),
  ('gpt-6-luna', 'GPT-6 Luna', 'openai', 922000, 128000, 5, 'optional', '{low,medium,high}', null, 'max_completion_tokens', 300000),
  ('gpt-6.1-terra', 'GPT-6.1 Terra', 'openai', 922000, 128000, 6, 'optional', '{low,medium,high}', null, 'max_completion_tokens', 300000),
  ('gpt-6.1-sol', 'GPT-6.1 Sol', 'openai', 922000, 128000, 7, 'optional', '{low,medium,high}', null, 'max_completion_tokens', 300000)
on conflict (model) do nothing;
update model set sort = 4 where model = 'claude-sonnet-4-6';

insert into model_price (model_price_id, model, effective_at, above_tokens, input_micros_per_million, cache_read_micros_per_million,
                         cache_write_micros_per_million, cache_write_long_micros_per_million, output_micros_per_million)
select gen_random_uuid(), price.*
from (values
  ('claude-haiku-5-5', timestamptz '2026-11-26', null::bigint, 100000, 10000, 125000, 200000, 500000),
  ('claude-haiku-5-5', '2026-11-26', 100000, 500000, 50000, 625000, 1000000, 2500000),
  ('claude-sonnet-5-5', '2026-11-26', null, 2000000, 100000, 2500000, 4000000, 10000000),
  ('claude-opus-5-5', '2026-11-26', null, 4000000, 200000, 5000000, 8000000, 20000000),
  ('gpt-6-luna', '2026-11-26', null, 100000, 10000, 125000, 250000, 500000),
  ('gpt-6-luna', '2026-11-26', 272000, 200000, 20000, 250000, 500000, 750000),
  ('gpt-6.1-terra', '2026-11-26', null, 1000000, 50000, 1250000, 2500000, 5000000),
  ('gpt-6.1-terra', '2026-11-26', 272000, 2000000, 100000, 2500000, 5000000, 7500000),
  ('gpt-6.1-sol', '2026-11-26', null, 2000000, 100000, 2500000, 5000000, 10000000),
  ('gpt-6.1-sol', '2026-11-26', 272000, 4000000, 200000, 5000000, 10000000, 15000000)
) as price (model, effective_at, above_tokens, input, cache_read, cache_write, cache_write_long, output)
where not exists (select from model_price known where known.model = price.model);

-- The new models come first in each plan, in this order.
update plan_model set sort = sort + 10;
insert into plan_model (plan_id, model, sort)
select plan_id, model, allowed.sort
from (values
  ('free', 'claude-haiku-5-5', 1), ('free', 'gpt-6-luna', 2),
  ('pro', 'claude-sonnet-5-5', 1), ('pro', 'claude-haiku-5-5', 2), ('pro', 'gpt-6.1-terra', 3), ('pro', 'gpt-6-luna', 4),
  ('max', 'claude-sonnet-5-5', 1), ('max', 'claude-opus-5-5', 2), ('max', 'claude-haiku-5-5', 3), ('max', 'gpt-6.1-sol', 4),
  ('max', 'gpt-6.1-terra', 5), ('max', 'gpt-6-luna', 6)
) as allowed (plan_id, model, sort) join plan using (plan_id)
on conflict (plan_id, model) do nothing;
