-- API keys: programs of a user call the models under the user's plan, limits and ledger. A key holds only a hash of its secret, and caps of its
-- own within the plan, so that one program with a bug can't use up what the others and the chat need.

-- How many keys that still work a user of the plan may have. Read when a key is created, so it isn't in the view `viewer`, which each turn reads.
alter table plan add column api_keys int not null default 1 constraint plan_api_keys_range check (api_keys between 0 and 1000);
update plan set api_keys = case plan_id when 'pro' then 5 when 'max' then 20 else api_keys end;

create table api_key (
  api_key_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  name text not null constraint api_key_name_length check (length(name) between 1 and 60),
  -- The first characters of the secret, by which its user recognizes it.
  prefix text not null,
  -- SHA-256 of the whole secret. It has 32 random bytes, so a plain hash can't be reversed.
  secret_hash bytea not null constraint api_key_secret_hash_key unique check (length(secret_hash) = 32),
  -- Null allows all models of the plan, and all endpoints.
  models text[],
  endpoints text[] constraint api_key_endpoints_known
    check (endpoints <@ array['chat_completions', 'responses', 'messages', 'models']),
  -- Caps of the key in any 60 seconds, 24 hours and 30 days; null is only limited by the plan.
  requests_per_minute int constraint api_key_requests_positive check (requests_per_minute > 0),
  tokens_per_day bigint constraint api_key_tokens_positive check (tokens_per_day > 0),
  dollars_per_month numeric(12, 2) constraint api_key_dollars_positive check (dollars_per_month > 0),
  -- Origins of web pages that may call with the key.
  allowed_origins text[] not null default '{}',
  created_at timestamptz not null,
  -- To the minute.
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz,
  paused_at timestamptz,
  pause_reason text,
  -- Until when the loop breaker refuses the key, and why.
  tripped_until timestamptz,
  trip_reason text constraint api_key_trip_reason_known check (trip_reason in ('repeats', 'errors')),
  constraint api_key_pause_has_reason check (pause_reason is null or paused_at is not null),
  constraint api_key_trip_has_reason check ((tripped_until is null) = (trip_reason is null))
);
create index api_key_user on api_key (user_id, created_at);
create index api_key_tripped on api_key (tripped_until) where tripped_until is not null;
create index api_key_origins on api_key using gin (allowed_origins) where revoked_at is null;

-- The key that a call was made with. Not a foreign key: the ledger outlives keys.
alter table ai_usage add column api_key_id uuid;
create index ai_usage_api_key on ai_usage (api_key_id, created_at) where api_key_id is not null;

select grant_app_role();
