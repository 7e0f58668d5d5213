-- Sums of the ledger by API key. The page of a user's keys and the rebuild of a key's lost meter summed up to 31 days of single rows, which takes
-- too long for a key with millions of calls. Also what a call's request says about caching: a call whose usage is lost can then be charged what
-- its provider may bill.

-- Which cache lifetime a program's request marks; null without marks. Locks the ledger, so that no row becomes final while its sums are computed
-- below.
alter table ai_usage add column cache_marks text constraint ai_usage_cache_marks_known check (cache_marks in ('short', 'long'));

-- The half hour of an instant: the shortest bucket of the windows of a key that are longer than a minute.
create function key_slot(at timestamptz) returns timestamptz language sql immutable as $$
  select date_bin('30 minutes', at, '1970-01-01 00:00:00+00'::timestamptz)
$$;

-- Sums per key and half hour of admission, for 62 days. No indexed column ever changes, so an update writes no index.
create table usage_key (
  api_key_id uuid not null,
  slot timestamptz not null,
  requests bigint not null,
  tokens bigint not null,
  cost_picos bigint not null,
  primary key (api_key_id, slot)
) with (fillfactor = 80);
create index usage_key_slot on usage_key (slot);

-- What a final row of the ledger adds.
create function usage_key_add() returns trigger language plpgsql as $$
begin
  insert into usage_key as u values (
    new.api_key_id, key_slot(new.created_at), (new.corrects is null and new.call_no = 1)::int,
    new.input_tokens + new.cache_read_tokens + new.cache_write_tokens + new.output_tokens, (new.cost_usd * 1000000000000)::bigint)
  on conflict (api_key_id, slot) do update set
    requests = u.requests + excluded.requests, tokens = u.tokens + excluded.tokens, cost_picos = u.cost_picos + excluded.cost_picos;
  return null;
end $$;
-- They run after `usage_finalized` and `usage_inserted`, by the order of their names, and so under the lock of the key's user.
create trigger usage_key_finalized after update on ai_usage for each row
  when (old.status = 'pending' and new.status <> 'pending' and new.api_key_id is not null) execute function usage_key_add();
create trigger usage_key_inserted after insert on ai_usage for each row
  when (new.status <> 'pending' and new.api_key_id is not null) execute function usage_key_add();

insert into usage_key
select api_key_id, key_slot(created_at), count(*) filter (where corrects is null and call_no = 1),
       sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), (sum(cost_usd) * 1000000000000)::bigint
from ai_usage
where api_key_id is not null and status <> 'pending' and created_at >= key_slot(now() - interval '62 days')
group by 1, 2;

-- The ledger as meters count it: a pending row with what is reserved for it, a final row with what it used.
create view metered_call as
select u.turn_id, u.subject, u.api_key_id, u.model, u.purpose, u.created_at, u.status = 'pending' as is_pending,
       -- Its provider was never called, so it isn't a request.
       u.status = 'failed' and not u.provider_failed and u.usage_source = 'exact' as is_uncalled,
       case when u.status = 'pending' then 0
            else u.input_tokens + u.cache_read_tokens + u.cache_write_tokens + u.output_tokens end as used_tokens,
       case when u.status = 'pending' then u.reserved_tokens end as reserved_tokens,
       case when u.status = 'pending'
            then (u.estimated_tokens::numeric
                    * case
                        when u.cache_marks = 'long' then greatest(p.input_micros_per_million, p.cache_write_micros_per_million,
                                                                  p.cache_write_long_micros_per_million)
                        -- A prompt that is long enough to be cached may be billed as a write to the cache.
                        when u.cache_marks = 'short' or m.min_cacheable <= u.estimated_tokens
                          then greatest(p.input_micros_per_million, p.cache_write_micros_per_million)
                        else p.input_micros_per_million
                      end
                  + (u.reserved_tokens - u.estimated_tokens)::numeric * p.output_micros_per_million) / 1000000000000
            else u.cost_usd end as cost_usd
from ai_usage u join model_price p using (model_price_id) left join model m on m.model = u.model;

select grant_app_role();
