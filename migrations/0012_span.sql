-- Sums that carry the owner's pages over millions of calls: hours keyed by a small number instead of a subject, and spans, which hold
-- what everybody used in some hours, added up and packed. A span is made once its hours are over, and broken by any call that becomes
-- final in them later.

-- Whoever ends a turn while this runs waits here, before they hold anything that is wanted below; everybody else goes on.
lock table ai_usage in share row exclusive mode;

-- Numbers for subjects, in the order they came: sums are kept by them, since a subject is sixteen times as long.
create table usage_subject (
  subject_id int generated always as identity primary key,
  subject text not null constraint usage_subject_key unique
);
insert into usage_subject (subject) select subject from account group by subject order by min(created_at);
insert into usage_subject (subject) select distinct subject from ai_usage on conflict do nothing;

create function account_subject() returns trigger language plpgsql as $$
begin
  insert into usage_subject (subject) values (new.subject) on conflict do nothing;
  return null;
end $$;
create trigger account_subject after insert on account for each row execute function account_subject();

drop table usage_hour;
drop table usage_day;

-- A row is one user's, so that nobody waits for somebody else's commit. Nothing that is indexed ever changes in it, and there is room
-- on its page: adding to it writes no index.
create table usage_hour (
  subject_id int not null,
  model text not null,
  hour timestamptz not null,
  requests bigint not null,
  calls bigint not null,
  failed bigint not null,
  input_tokens bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  estimated_tokens bigint not null,
  cost_picos bigint not null,
  primary key (subject_id, hour, model)
) with (fillfactor = 80);
create index usage_hour_hour on usage_hour (hour);

-- What a user cost on each UTC day: the small line beside their name.
create table usage_day (
  subject_id int not null,
  day date not null,
  cost_picos bigint not null,
  primary key (subject_id, day)
) with (fillfactor = 80);

-- So many hours from an instant on that is a multiple of them since 1970 (store::span has the sizes). Its users, packed, by the number
-- of their subject; a span nobody used anything in stands here too.
create table usage_span (
  hours int not null,
  begins_at timestamptz not null,
  users bytea not null,
  primary key (hours, begins_at)
);
-- The same, model by model, with totals that SQL can read.
create table usage_span_model (
  hours int not null,
  begins_at timestamptz not null,
  model text not null,
  requests bigint not null,
  calls bigint not null,
  failed bigint not null,
  input_tokens bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  cost_picos bigint not null,
  -- how many calls took how many milliseconds to their time to first token, to two digits
  ttft_ms int[] not null,
  ttft_calls bigint[] not null,
  users bytea not null,
  primary key (hours, begins_at, model),
  foreign key (hours, begins_at) references usage_span on delete cascade
);
-- Packed already.
alter table usage_span alter column users set storage external;
alter table usage_span_model alter column users set storage external;

-- Milliseconds to two significant digits, half up. Rounding keeps the order, so that a percentile of what is rounded is the percentile,
-- rounded.
create function two_digits(ms int) returns int language sql immutable as $$
  select case
    when ms < 100 then ms
    when ms < 1000 then (ms + 5) / 10 * 10
    when ms < 10000 then (ms + 50) / 100 * 100
    when ms < 100000 then (ms + 500) / 1000 * 1000
    else (ms + 5000) / 10000 * 10000
  end
$$;

create or replace function usage_hour_add() returns trigger language plpgsql as $$
declare
  who int;
  at timestamptz := date_trunc('hour', new.created_at, 'UTC');
  -- a call that nobody answered says nothing about the estimate of its input
  estimated bigint := case when new.corrects is null and new.input_tokens + new.cache_read_tokens + new.cache_write_tokens > 0
    then new.estimated_tokens else 0 end;
  size int;
begin
  -- Whoever sees an older moment than now can't see the spans that were made since.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'the ledger is written in read committed transactions';
  end if;
  select subject_id into who from usage_subject where subject = new.subject;
  if who is null then
    insert into usage_subject (subject) values (new.subject)
      on conflict (subject) do update set subject = excluded.subject returning subject_id into who;
  end if;
  -- Whoever makes a span of this hour waits for all who are adding to it, and the other way round.
  perform pg_advisory_xact_lock_shared(7011, (extract(epoch from at) / 3600)::int);
  insert into usage_hour as u (subject_id, model, hour, requests, calls, failed, input_tokens, cache_read_tokens, cache_write_tokens,
                               output_tokens, reasoning_tokens, estimated_tokens, cost_picos)
  values (who, new.model, at, (new.corrects is null and new.call_no = 1)::int, (new.corrects is null)::int,
          new.provider_failed::int, new.input_tokens, new.cache_read_tokens, new.cache_write_tokens,
          new.output_tokens, new.reasoning_tokens, estimated, (new.cost_usd * 1000000000000)::bigint)
  on conflict (subject_id, hour, model) do update set
    requests = u.requests + excluded.requests, calls = u.calls + excluded.calls, failed = u.failed + excluded.failed,
    input_tokens = u.input_tokens + excluded.input_tokens, cache_read_tokens = u.cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = u.cache_write_tokens + excluded.cache_write_tokens, output_tokens = u.output_tokens + excluded.output_tokens,
    reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens, estimated_tokens = u.estimated_tokens + excluded.estimated_tokens,
    cost_picos = u.cost_picos + excluded.cost_picos;
  insert into usage_day as u (subject_id, day, cost_picos)
  values (who, (new.created_at at time zone 'UTC')::date, (new.cost_usd * 1000000000000)::bigint)
  on conflict (subject_id, day) do update set cost_picos = u.cost_picos + excluded.cost_picos;
  -- A span that holds this hour doesn't know of this call. Larger ones are made of smaller ones, so that where the smallest is missing
  -- there are none; each is looked for anew, since it may have been made while we waited for the one before.
  delete from usage_span where hours = 1 and begins_at = at;
  if found then
    foreach size in array array[2, 4, 8, 24, 48, 96, 192, 384] loop
      delete from usage_span where hours = size and begins_at = date_bin(make_interval(hours => size), at, 'epoch');
    end loop;
  end if;
  return null;
end $$;

-- Makes the sums anew from the ledger's rows, as far as those are kept. What the server calls `usage rebuild`, and what a test compares
-- the triggers with.
create or replace function usage_rebuild() returns void language plpgsql as $$
declare
  kept timestamptz;
begin
  -- No span is made and no month dropped meanwhile, and whoever ends a turn now waits, so that nothing is counted twice or missed.
  perform pg_advisory_xact_lock(7012, 0);
  lock table ai_usage, usage_hour, usage_day in share row exclusive mode;
  select coalesce(ledger_from, '-infinity') into kept from deployment;
  delete from usage_span where begins_at + make_interval(hours => hours) > kept;
  delete from usage_hour where hour >= kept;
  delete from usage_day where day >= (kept at time zone 'UTC')::date;
  insert into usage_subject (subject) select distinct subject from ai_usage on conflict do nothing;
  insert into usage_hour (subject_id, model, hour, requests, calls, failed, input_tokens, cache_read_tokens, cache_write_tokens,
                          output_tokens, reasoning_tokens, estimated_tokens, cost_picos)
  select subject_id, model, date_trunc('hour', created_at, 'UTC'), count(*) filter (where corrects is null and call_no = 1),
         count(*) filter (where corrects is null), count(*) filter (where provider_failed), sum(input_tokens),
         sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens),
         coalesce(sum(estimated_tokens) filter (where corrects is null and input_tokens + cache_read_tokens + cache_write_tokens > 0), 0),
         (sum(cost_usd) * 1000000000000)::bigint
  from ai_usage join usage_subject using (subject) where status <> 'pending' and created_at >= kept group by 1, 2, 3 order by 3, 1;
  insert into usage_day (subject_id, day, cost_picos)
  select subject_id, (hour at time zone 'UTC')::date, sum(cost_picos) from usage_hour where hour >= kept group by 1, 2 order by 2, 1;
end $$;
select usage_rebuild();

-- Drops the months of the ledger that lie wholly before an instant; how many. The sums of their hours and days stay.
create function ai_usage_drop(before timestamptz) returns int language plpgsql as $$
declare
  kept timestamp := date_trunc('month', before at time zone 'UTC');
  part text;
  dropped int := 0;
begin
  -- A rebuild knows either the rows or since when they are kept.
  perform pg_advisory_xact_lock(7012, 0);
  for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
              where i.inhparent = 'ai_usage'::regclass and c.relname < 'ai_usage_' || to_char(kept, 'YYYY_MM') order by 1 loop
    execute format('drop table %I', part);
    dropped := dropped + 1;
  end loop;
  update deployment set ledger_from = kept at time zone 'UTC'
  where dropped > 0 and (ledger_from is null or ledger_from < kept at time zone 'UTC');
  return dropped;
end $$;
