-- Conversations and messages of a benchmark: the first user has 5 000 with 100 000 messages, the others have as many messages together. The
-- frequency of words is distributed as in a natural language: a few are in nearly every message, most are in very few.

create temporary table word as
select n, case when n <= 40 then (array[
  'the', 'of', 'and', 'to', 'in', 'is', 'you', 'that', 'it', 'for', 'on', 'are', 'as', 'with', 'this', 'be', 'at', 'have', 'from', 'or',
  'one', 'had', 'by', 'but', 'not', 'what', 'all', 'were', 'we', 'when', 'your', 'can', 'an', 'there', 'use', 'how', 'their', 'if', 'will', 'each'
])[n] else 'word' || n end as word
from generate_series(1, 20000) n;
create unique index on word (n);

create temporary table owner as
select user_id, row_number() over (order by created_at, user_id) as number from account;

insert into conversation (conversation_id, user_id, title, created_at, updated_at)
select gen_random_uuid(), user_id, (array['How a lease ends', 'A poem about autumn', 'Sorting a list in Rust', 'Plans for the garden', 'Questions for the doctor'])[n % 5 + 1] || ' ' || n, now() - n * interval '1 hour', now() - n * interval '1 hour'
from owner, generate_series(1, 5000) n where number = 1 or n <= 250;

insert into message (message_id, conversation_id, turn_id, role, body, status, created_at)
select gen_random_uuid(), c.conversation_id, gen_random_uuid(), case when n % 2 = 1 then 'user' else 'assistant' end,
       (select string_agg(w.word, ' ' order by k)
        from (select k, greatest(1, ceil(20000 * power(random(), 6)))::int as pick from generate_series(1, 50) k
              -- Refers to the row, so that each has words of its own.
              where c.conversation_id is not null and n > 0) chosen
        join word w on w.n = chosen.pick),
       'finished', c.updated_at
from conversation c, generate_series(1, 20) n;

analyze conversation, message, message_search, title_search;
vacuum message_search, title_search;
