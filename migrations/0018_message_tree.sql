-- Messages of a conversation form a tree: editing a question or regenerating a response adds a sibling, and nothing is replaced. The page
-- shows the path from the root to `conversation.leaf_id`, and that path is what a model is sent.

-- The message before this one; null begins the conversation. A response's parent is its question.
alter table message add column parent_id uuid references message on delete cascade;
-- The last message of the visible path; null in an empty conversation. Without a foreign key: a conversation is written before its first
-- message, and whatever deletes a message moves the leaf.
alter table conversation add column leaf_id uuid;
-- The question that a turn answers, and the leaf before the turn, which is restored if the turn is undone. Both may outlive their messages.
alter table turn add column question_id uuid, add column previous_leaf_id uuid;

-- Existing conversations. A regeneration had a copy of its question: its response becomes a sibling of the one that it replaced, and the
-- copy is removed.
create temporary table question_of_turn on commit drop as
with recursive chain as (
  select m.turn_id, m.turn_id as first_turn_id
  from (select distinct turn_id from message) m left join turn t using (turn_id)
  where t.retry_of is null or not exists (select from message q where q.turn_id = t.retry_of and q.role = 'user')
  union all
  select t.turn_id, c.first_turn_id from turn t join chain c on t.retry_of = c.turn_id
)
select c.turn_id, q.message_id as question_id from chain c join message q on q.turn_id = c.first_turn_id and q.role = 'user';

update turn t set question_id = q.question_id from question_of_turn q where q.turn_id = t.turn_id;
update message m set parent_id = q.question_id from question_of_turn q where q.turn_id = m.turn_id and m.role = 'assistant';
delete from message m using question_of_turn q where q.turn_id = m.turn_id and m.role = 'user' and q.question_id <> m.message_id;

-- A question follows the visible response of the question before it, or that question if it has none.
create temporary table exchange on commit drop as
select q.conversation_id, q.message_id as question_id, coalesce(
  (select a.message_id from message a where a.parent_id = q.message_id and a.superseded_by is null order by a.message_id desc limit 1),
  q.message_id) as last_id
from message q where q.role = 'user';

update message m set parent_id = e.parent_id
from (select question_id, lag(last_id) over (partition by conversation_id order by question_id) as parent_id from exchange) e
where m.message_id = e.question_id;
update conversation c set leaf_id = e.last_id
from (select distinct on (conversation_id) conversation_id, last_id from exchange order by conversation_id, question_id desc) e
where e.conversation_id = c.conversation_id;

alter table message drop column superseded_by;
alter table turn drop column retry_of;
create index message_parent on message (parent_id) where parent_id is not null;
create index message_root on message (conversation_id) where parent_id is null;

-- The end of the path that continues from a message with its newest child each time; without a message, from the newest root. Null if the
-- message isn't in the conversation, or if the conversation is empty. Volatile, so that it sees what was committed while its caller waited
-- for a lock.
create function newest_leaf(conversation uuid, start uuid) returns uuid language sql volatile as $$
  with recursive path as (
    (
      select m.message_id, 0 as depth from message m
      where m.conversation_id = $1 and (m.message_id = $2 or ($2 is null and m.parent_id is null))
      order by m.message_id desc limit 1
    )
    union all
    select child.message_id, path.depth + 1
    from path cross join lateral (
      select m.message_id from message m where m.parent_id = path.message_id order by m.message_id desc limit 1
    ) child
  )
  select message_id from path order by depth desc limit 1
$$;

-- A response is the end of the visible path if its question was. Questions that were sent while it was in progress follow the question, so
-- the response takes its place between them. A summary that was made meanwhile doesn't have it.
create function place_response() returns trigger language plpgsql as $$
begin
  update conversation set leaf_id = new.message_id where conversation_id = new.conversation_id and leaf_id = new.parent_id;
  update message set parent_id = new.message_id where parent_id = new.parent_id and role = 'user';
  if found then
    delete from conversation_summary where conversation_id = new.conversation_id;
  end if;
  return null;
end $$;
create trigger message_response after insert on message for each row when (new.role = 'assistant') execute function place_response();

-- Takes a turn's messages back. Questions that were sent after them move up, and the leaf is again what it was before. The caller has locked
-- the conversation.
create function remove_turn_messages(turn uuid, conversation uuid) returns void language plpgsql as $$
declare
  begun record;
begin
  update turn t set conversation_id = null where t.turn_id = $1 returning t.question_id, t.previous_leaf_id into begun;
  update message m set parent_id = q.parent_id from message q where q.turn_id = $1 and m.parent_id = q.message_id and m.turn_id <> $1;
  delete from message m where m.turn_id = $1;
  -- The question of a regeneration keeps its other responses, and what was sent meanwhile follows the newest of them.
  update message m set parent_id = a.message_id
  from (select message_id from message where parent_id = begun.question_id and role = 'assistant' order by message_id desc limit 1) a
  where m.parent_id = begun.question_id and m.role = 'user';
  update conversation c set leaf_id = coalesce(newest_leaf($2, begun.previous_leaf_id), newest_leaf($2, null))
  where c.conversation_id = $2 and c.leaf_id = begun.question_id;
end $$;
