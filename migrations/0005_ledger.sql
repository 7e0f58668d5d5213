-- The ledger: one row per provider call that may be billed, immutable once final, kept after chat and account are deleted. Partitioned by
-- month from the start, because a large table can't be partitioned later without downtime.

create table ai_usage (
  ai_usage_id uuid not null,
  turn_id uuid not null,
  call_no int not null default 1,
  purpose text not null default 'chat' check (purpose in ('chat', 'title', 'tool', 'api')),
  user_id uuid references account on delete set null,
  subject text not null,
  model text not null,
  model_price_id uuid not null references model_price,
  status text not null check (status in ('pending', 'finished', 'stopped', 'truncated', 'failed', 'lost')),
  usage_source text check (usage_source in ('exact', 'estimated')),
  input_tokens bigint not null default 0,
  cache_read_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  estimated_tokens bigint not null,
  reserved_tokens bigint not null,
  -- Our own count of the input before the model's factor is applied; the factor is learned from it.
  counted_tokens bigint,
  cost_usd numeric(20, 12) not null default 0,
  provider_request_id text,
  -- Whether the provider did not answer, or not to the end. A stop and a restart of ours are not failures of the provider.
  provider_failed boolean not null default false,
  -- Milliseconds from sending the request to the first token; null where none came.
  ttft_ms int,
  created_at timestamptz not null,
  settled_at timestamptz,
  corrects uuid,
  primary key (created_at, ai_usage_id),
  -- A correction holds signed differences, so that a plain sum is always right.
  constraint ai_usage_not_negative check (corrects is not null or (
    input_tokens >= 0 and cache_read_tokens >= 0 and cache_write_tokens >= 0 and output_tokens >= 0
    and reasoning_tokens >= 0 and cost_usd >= 0
  )),
  constraint ai_usage_reasoning_is_output check (corrects is not null or reasoning_tokens <= output_tokens),
  constraint ai_usage_final_is_settled check ((status = 'pending') = (settled_at is null))
) partition by range (created_at);

create index ai_usage_subject on ai_usage (subject, created_at);
create index ai_usage_user on ai_usage (user_id, created_at);
create index ai_usage_turn on ai_usage (turn_id);

-- Creates the monthly partitions between two instants. A page keeps 30 % free: no indexed column changes when a row becomes final, so the
-- new version fits on the same page and no index is written (a HOT update).
create function ai_usage_create_partitions(first timestamptz, last timestamptz) returns void language plpgsql as $$
declare
  month timestamp := date_trunc('month', first at time zone 'UTC');
begin
  while month <= last at time zone 'UTC' loop
    execute format(
      'create table if not exists %I partition of ai_usage for values from (%L) to (%L) with (fillfactor = 70)',
      'ai_usage_' || to_char(month, 'YYYY_MM'), month::text || '+00', (month + interval '1 month')::text || '+00'
    );
    month := month + interval '1 month';
  end loop;
end $$;

select ai_usage_create_partitions(now() - interval '4 months', now() + interval '3 months');

-- A row goes from pending to one final status, once; afterwards only its user may be removed.
create function ai_usage_guard() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    raise exception 'the ledger is append-only';
  end if;
  if old.status <> 'pending' and to_jsonb(new) - 'user_id' <> to_jsonb(old) - 'user_id' then
    raise exception 'a final ledger row never changes; correct it with a new row';
  end if;
  return new;
end $$;
create trigger ai_usage_guard before update or delete on ai_usage for each row execute function ai_usage_guard();

-- Refusals are not ledger rows: servers count them in memory and add them here.
create table refusal_hour (
  user_id uuid not null references account on delete cascade,
  kind text not null,
  hour timestamptz not null,
  n bigint not null,
  primary key (user_id, kind, hour)
);
create index refusal_hour_hour on refusal_hour (hour);

-- Meters that differed from the ledger and were rebuilt.
create table meter_drift (
  subject text not null,
  found_tokens bigint not null,
  ledger_tokens bigint not null,
  at timestamptz not null,
  primary key (subject, at)
);
create index meter_drift_at on meter_drift (at desc);
