-- Models and their prices. A price is never edited: a new row takes effect at its date, and every ledger row references the price it was
-- computed with.

create table model (
  model text primary key check (length(model) between 1 and 120),
  label text not null,
  provider text not null check (provider in ('anthropic', 'openai', 'demo')),
  base_url text,
  context bigint not null check (context > 0),
  max_output bigint not null check (max_output > 0),
  sort int not null,
  enabled boolean not null default true,
  -- The model that is called when this one is unavailable.
  fallback text references model constraint model_fallback_is_another check (fallback <> model),
  -- Milliseconds of silence after which the fallback is called as well; null never. Both providers may bill.
  hedge_after_ms int,
  daily_spend_usd numeric(12, 2) constraint model_daily_spend_not_negative check (daily_spend_usd >= 0),
  -- Input tokens the provider counts per thousand of our own count, learned from exact usage; null until enough is known.
  input_permille bigint constraint model_input_permille_in_range check (input_permille between 500 and 5000),
  constraint model_hedge_after check (hedge_after_ms is null or hedge_after_ms between 1 and 600000 and fallback is not null)
);

-- Prices are whole micro-dollars per million tokens.
create table model_price (
  model_price_id uuid primary key,
  model text not null references model,
  effective_at timestamptz not null,
  -- Applies to prompts larger than this; null is the base tier.
  above_tokens bigint check (above_tokens > 0),
  input_micros_per_million bigint not null,
  cache_read_micros_per_million bigint,
  cache_write_micros_per_million bigint,
  cache_write_1h_micros_per_million bigint,
  output_micros_per_million bigint not null,
  constraint model_price_not_negative check (
    input_micros_per_million >= 0 and output_micros_per_million >= 0 and coalesce(cache_read_micros_per_million, 0) >= 0
    and coalesce(cache_write_micros_per_million, 0) >= 0 and coalesce(cache_write_1h_micros_per_million, 0) >= 0
  ),
  unique nulls not distinct (model, above_tokens, effective_at)
);

-- Which plan allows which model; the lowest `sort` is the plan's default.
create table plan_model (
  plan_id text not null references plan on delete cascade,
  model text not null references model on delete cascade,
  sort int not null,
  primary key (plan_id, model)
);

insert into model (model, label, provider, context, max_output, sort) values
  ('claude-sonnet-4-6', 'Claude Sonnet 4.6', 'anthropic', 1000000, 128000, 1),
  ('claude-haiku-4-5', 'Claude Haiku 4.5', 'anthropic', 200000, 64000, 2),
  ('claude-opus-4-7', 'Claude Opus 4.7', 'anthropic', 1000000, 128000, 3),
  ('gpt-5.4-mini', 'GPT-5.4 mini', 'openai', 272000, 128000, 4),
  ('gpt-5.4', 'GPT-5.4', 'openai', 1050000, 128000, 5),
  ('gpt-5-mini', 'GPT-5 mini', 'openai', 272000, 128000, 6),
  ('gpt-4o-mini', 'GPT-4o mini', 'openai', 128000, 16384, 7),
  ('demo', 'Demo model', 'demo', 32000, 2000, 8);

-- Prices read from LiteLLM's catalogue on 2026-11-23; the README tells how to check them and add newer ones.
insert into model_price (model_price_id, model, effective_at, above_tokens, input_micros_per_million, cache_read_micros_per_million,
                         cache_write_micros_per_million, cache_write_1h_micros_per_million, output_micros_per_million)
select gen_random_uuid(), price.model, timestamptz '2026-01-01', price.above_tokens, price.input, price.cache_read, price.cache_write, price.cache_write_1h, price.output
from (values
  ('claude-haiku-4-5', null::bigint, 1000000, 100000, 1250000, 2000000, 5000000),
  ('claude-sonnet-4-6', null, 3000000, 300000, 3750000, 6000000, 15000000),
  ('claude-opus-4-7', null, 5000000, 500000, 6250000, 10000000, 25000000),
  ('gpt-5-mini', null, 250000, 25000, null, null, 2000000),
  ('gpt-5.4-mini', null, 750000, 75000, null, null, 4500000),
  ('gpt-5.4', null, 2500000, 250000, null, null, 15000000),
  ('gpt-5.4', 272000, 5000000, 500000, null, null, 22500000),
  ('gpt-4o-mini', null, 150000, 75000, null, null, 600000),
  ('demo', null, 1000000, null, null, null, 5000000)
) as price (model, above_tokens, input, cache_read, cache_write, cache_write_1h, output);

insert into plan_model (plan_id, model, sort)
select plan_id, model, row_number() over (partition by plan_id order by position)
from (values
  ('free', 'claude-haiku-4-5', 1), ('free', 'gpt-5-mini', 2), ('free', 'gpt-4o-mini', 3), ('free', 'demo', 4),
  ('pro', 'claude-sonnet-4-6', 1), ('pro', 'claude-haiku-4-5', 2), ('pro', 'gpt-5.4-mini', 3), ('pro', 'gpt-5-mini', 4), ('pro', 'gpt-4o-mini', 5), ('pro', 'demo', 6),
  ('max', 'claude-sonnet-4-6', 1), ('max', 'claude-opus-4-7', 2), ('max', 'claude-haiku-4-5', 3), ('max', 'gpt-5.4', 4), ('max', 'gpt-5.4-mini', 5), ('max', 'gpt-5-mini', 6), ('max', 'gpt-4o-mini', 7), ('max', 'demo', 8)
) as allowed (plan_id, model, position);
