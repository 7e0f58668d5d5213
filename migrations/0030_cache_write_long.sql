-- Tokens written to caches with the longer lifetime, of all users per model and hour: they have their own price, and the rollups counted them
-- only among all cache writes. They are folded from a queue of their own, as `usage_total` is from `usage_delta`, because the previous release
-- reads every column of `usage_total`, and folds `usage_delta` without columns that it doesn't know.
create table cache_write_long (
  model text not null,
  hour timestamptz not null,
  tokens bigint not null,
  primary key (hour, model)
);
create table cache_write_long_delta (
  model text not null,
  hour timestamptz not null,
  tokens bigint not null
);

create function cache_write_long_add() returns trigger language plpgsql as $$
begin
  insert into cache_write_long_delta (model, hour, tokens)
  values (new.model, date_trunc('hour', new.created_at, 'UTC'), new.cache_write_long_tokens);
  return null;
end $$;
create trigger cache_write_long_finalized after update on ai_usage for each row
  when (old.status = 'pending' and new.status <> 'pending' and new.cache_write_long_tokens <> 0) execute function cache_write_long_add();
create trigger cache_write_long_inserted after insert on ai_usage for each row
  when (new.status <> 'pending' and new.cache_write_long_tokens <> 0) execute function cache_write_long_add();

-- Creating the triggers has locked the ledger against writes until the end of this migration, so no row is left out or counted twice.
insert into cache_write_long (model, hour, tokens)
select model, date_trunc('hour', created_at, 'UTC'), sum(cache_write_long_tokens)
from ai_usage where status <> 'pending' and cache_write_long_tokens <> 0 group by 1, 2;

select grant_app_role();
