-- What a turn needs to be tried again, to fall back and to be counted once for all: retries name what they replace, models name who
-- stands in for them and what they may cost a day, and each final ledger row is added to its user's hour as it is written.

-- The whole deployment: what it may spend in a day, and whether it answers at all. One row.
create table deployment (
  deployment_id boolean primary key default true constraint deployment_is_one check (deployment_id),
  paused boolean not null default false,
  daily_spend_usd numeric(12, 2) constraint deployment_daily_spend_not_negative check (daily_spend_usd >= 0)
);
insert into deployment default values;

alter table model
  add column fallback text references model constraint model_fallback_is_another check (fallback <> model),
  add column daily_spend_usd numeric(12, 2) constraint model_daily_spend_not_negative check (daily_spend_usd >= 0),
  -- input tokens per thousand that we count, learned from what the provider told; null while too little is known
  add column input_permille bigint constraint model_input_permille_sane check (input_permille between 500 and 5000);

-- Our own count of the input, before the model's factor: what the factor is learned from.
alter table ai_usage add column counted_tokens bigint;

alter table turn add column retry_of uuid;
-- An answer that was written again, and its question, give way to the newer ones; nothing is deleted.
alter table message add column superseded_by uuid;
create index message_superseded on message (superseded_by) where superseded_by is not null;

-- Sums per user, model and hour of admission. A row is one user's, so that nobody waits for somebody else's commit; sums over
-- the deployment are sums over these. Kept by the ledger's own trigger, so that they are the ledger's sums, always.
create table usage_hour (
  subject text not null,
  model text not null,
  hour timestamptz not null,
  requests bigint not null default 0,
  calls bigint not null default 0,
  input_tokens bigint not null default 0,
  cache_read_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  estimated_tokens bigint not null default 0,
  cost_usd numeric(20, 12) not null default 0,
  primary key (subject, model, hour)
);
create index usage_hour_hour on usage_hour (hour);

create function usage_hour_add() returns trigger language plpgsql as $$
begin
  insert into usage_hour as u (subject, model, hour, requests, calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
                               reasoning_tokens, estimated_tokens, cost_usd)
  values (new.subject, new.model, date_trunc('hour', new.created_at, 'UTC'), (new.corrects is null and new.call_no = 1)::int,
          (new.corrects is null)::int, new.input_tokens, new.cache_read_tokens, new.cache_write_tokens, new.output_tokens,
          new.reasoning_tokens, case when new.corrects is null then new.estimated_tokens else 0 end, new.cost_usd)
  on conflict (subject, model, hour) do update set
    requests = u.requests + excluded.requests, calls = u.calls + excluded.calls,
    input_tokens = u.input_tokens + excluded.input_tokens, cache_read_tokens = u.cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = u.cache_write_tokens + excluded.cache_write_tokens, output_tokens = u.output_tokens + excluded.output_tokens,
    reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens, estimated_tokens = u.estimated_tokens + excluded.estimated_tokens,
    cost_usd = u.cost_usd + excluded.cost_usd;
  return null;
end $$;
create trigger usage_hour_settled after update on ai_usage for each row
  when (old.status = 'pending' and new.status <> 'pending') execute function usage_hour_add();
create trigger usage_hour_inserted after insert on ai_usage for each row
  when (new.status <> 'pending') execute function usage_hour_add();

insert into usage_hour (subject, model, hour, requests, calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
                        reasoning_tokens, estimated_tokens, cost_usd)
select subject, model, date_trunc('hour', created_at, 'UTC'), count(*) filter (where corrects is null and call_no = 1),
       count(*) filter (where corrects is null), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
       sum(output_tokens), sum(reasoning_tokens), coalesce(sum(estimated_tokens) filter (where corrects is null), 0), sum(cost_usd)
from ai_usage where status <> 'pending' group by 1, 2, 3;
