-- The role that the server runs as, and what admins see of accounts that may belong to one person. Before, the server owned the tables: any
-- statement that an attacker made it run could have dropped the triggers that keep ledger and audit log. As `quotient_app` it owns nothing.

-- Creating and dropping months of the ledger needs its owner. Both functions run as the owner and do nothing else: the first creates only
-- partitions that bear the name of their month, the second never drops the last four whole months for the server (the least that
-- LEDGER_MONTHS allows).
alter function ai_usage_create_partitions(timestamptz, timestamptz) security definer set search_path = public, pg_temp;

create or replace function ai_usage_drop(before timestamptz) returns int
language plpgsql security definer set search_path = public, pg_temp as $$
declare
  kept timestamp := date_trunc('month', case
    when session_user = 'quotient_app' then least(before, now() - interval '4 months') else before end at time zone 'UTC');
  part text;
  dropped int := 0;
begin
  -- A rebuild sees either the rows or the date from which they are kept.
  lock table usage_period in exclusive mode;
  for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
              where i.inhparent = 'ai_usage'::regclass and c.relname < 'ai_usage_' || to_char(kept, 'YYYY_MM') order by 1 loop
    execute format('drop table %I', part);
    dropped := dropped + 1;
  end loop;
  update deployment set ledger_from = kept at time zone 'UTC'
  where dropped > 0 and (ledger_from is null or ledger_from < kept at time zone 'UTC');
  return dropped;
end $$;

revoke execute on function ai_usage_create_partitions(timestamptz, timestamptz), ai_usage_drop(timestamptz) from public;

-- Grants `quotient_app`, if it exists, what it doesn't have yet. Runs after every migration, so that a role or a table that is created later
-- has its privileges too. Cascades of foreign keys run as the owner, so that deleting an account needs no privilege on its audit rows.
create function grant_app_role() returns void language plpgsql as $$
declare
  found record;
begin
  if not exists (select from pg_roles where rolname = 'quotient_app') or current_user = 'quotient_app' then
    return;
  end if;
  -- Two servers that start at once would otherwise change the same rows of the catalogue.
  perform pg_advisory_xact_lock(7014);
  if not has_schema_privilege('quotient_app', 'public', 'usage') then
    grant usage on schema public to quotient_app;
  end if;
  -- Databases that were created before Postgres 15.
  if has_schema_privilege('quotient_app', 'public', 'create') then
    revoke create on schema public from public;
  end if;
  for found in
    select c.oid::regclass::text as name, c.relname, c.relkind from pg_class c
    -- Partitions are reached through their table.
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
      and not has_table_privilege('quotient_app', c.oid, 'select')
    order by 1
  loop
    execute format('grant %s on %s to quotient_app', case
      when found.relkind in ('v', 'm') or found.relname = '_sqlx_migrations' then 'select'
      when found.relname = 'audit' then 'select, insert'
      -- A pending row becomes final by an update; the trigger forbids any other.
      when found.relname = 'ai_usage' then 'select, insert, update'
      else 'select, insert, update, delete'
    end, found.name);
  end loop;
  if not has_function_privilege('quotient_app', 'ai_usage_drop(timestamptz)', 'execute') then
    grant execute on function ai_usage_create_partitions(timestamptz, timestamptz), ai_usage_drop(timestamptz) to quotient_app;
  end if;
end $$;
revoke execute on function grant_app_role() from public;
select grant_app_role();

alter table account
  -- Keyed hash of the network that the account was created from: an IPv4 /24 or an IPv6 /48. Null before this migration and for accounts
  -- that weren't created over the network.
  add column sign_up_block text,
  -- Keyed hash of the normalised address, whether or not it is verified. Only the server has the key: a job fills in what is null.
  add column address_hash text;
create index account_sign_up_block on account (sign_up_block) where sign_up_block is not null;
create index account_address_hash on account (address_hash) where address_hash is not null;
create index account_without_address_hash on account (user_id) where address_hash is null;

-- How many accounts share a network or a normalised address with this one, itself included, at most `cap`. Bounded, because behind a proxy
-- that forwards no addresses all accounts share one network.
create function accounts_of_block(block text, cap bigint) returns bigint language sql stable as $$
  select count(*) from (select from account where sign_up_block = block limit cap) shared
$$;
create function accounts_of_address(hash text, cap bigint) returns bigint language sql stable as $$
  select count(*) from (select from account where address_hash = hash limit cap) shared
$$;
