-- Creating a month of the ledger locked the ledger first and then the tables that it refers to. A transaction that had changed one of those, for
-- example by deleting an account, and then used the ledger, deadlocked with it.

-- As before, but locks what the ledger refers to first, as such transactions do, and locks nothing if all months exist.
create or replace function ai_usage_create_partitions(first timestamptz, last timestamptz) returns void language plpgsql
security definer set search_path = public, pg_temp as $$
declare
  month timestamp := date_trunc('month', first at time zone 'UTC');
  part text;
begin
  while month <= last at time zone 'UTC' loop
    part := 'ai_usage_' || to_char(month, 'YYYY_MM');
    if to_regclass(part) is null then
      lock table account, model_price in share row exclusive mode;
      execute format(
        'create table if not exists %I partition of ai_usage for values from (%L) to (%L) with (fillfactor = 70)',
        part, month::text || '+00', (month + interval '1 month')::text || '+00'
      );
    end if;
    month := month + interval '1 month';
  end loop;
end $$;
