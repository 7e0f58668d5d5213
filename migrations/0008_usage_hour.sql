-- The owner's tables are read from the hourly sums now, so the wide index over raw rows goes: it was written anew each time a row became
-- final. Without it nothing that is indexed changes then, and with some room left on each page the row stays where its indexes point.
drop index ai_usage_created;

create or replace function ai_usage_cover(first timestamptz, last timestamptz) returns void language plpgsql as $$
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

do $$
declare
  part regclass;
begin
  for part in select inhrelid::regclass from pg_inherits where inhparent = 'ai_usage'::regclass loop
    execute format('alter table %s set (fillfactor = 70)', part);
  end loop;
end $$;

-- Sums over a period, user by user, without going to the table.
drop index usage_hour_hour;
create index usage_hour_hour on usage_hour (hour) include (subject, requests, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, cost_usd);
