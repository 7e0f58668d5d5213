-- The ledger: one row per provider call that may be billed, never changed once final, outliving chat and account.
-- Partitioned by month from the start, because a table that is large can't be partitioned later without a stop.

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
  cost_usd numeric(20, 12) not null default 0,
  provider_request_id text,
  created_at timestamptz not null,
  settled_at timestamptz,
  corrects uuid,
  primary key (created_at, ai_usage_id),
  -- a correction holds signed differences, so that a plain sum is always the truth
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
create index ai_usage_created on ai_usage (created_at) include (user_id, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, cost_usd);

-- Makes the monthly partitions that cover a span; the server calls it ahead of time, a seed for the past.
create function ai_usage_cover(first timestamptz, last timestamptz) returns void language plpgsql as $$
declare
  month timestamp := date_trunc('month', first at time zone 'UTC');
begin
  while month <= last at time zone 'UTC' loop
    execute format(
      'create table if not exists %I partition of ai_usage for values from (%L) to (%L)',
      'ai_usage_' || to_char(month, 'YYYY_MM'), month::text || '+00', (month + interval '1 month')::text || '+00'
    );
    month := month + interval '1 month';
  end loop;
end $$;

select ai_usage_cover(now() - interval '4 months', now() + interval '3 months');

-- A row goes from pending to one final status, once; afterwards only its user may be forgotten.
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

-- Refusals are no ledger rows: counted in memory and flushed here.
create table refusal_hour (
  user_id uuid not null references account on delete cascade,
  kind text not null,
  hour timestamptz not null,
  n bigint not null,
  primary key (user_id, kind, hour)
);
