-- An undone turn restores the path that was shown before it even if turns overlap, an object that can't be
-- deleted doesn't block the others, and imported text and shared copies count towards the storage of their user's plan.

-- Takes a turn's messages back. Questions that were sent after them move up, and the leaf is again what it was before. Turns that began meanwhile
-- return to the leaf before this one if they are undone as well: the question that was the leaf when they began is gone, or its regeneration is.
-- The caller has locked the conversation.
create or replace function remove_turn_messages(turn uuid, conversation uuid) returns void language plpgsql as $$
declare
  begun record;
begin
  update turn t set conversation_id = null where t.turn_id = $1
  returning t.question_id, t.previous_leaf_id, t.created_at into begun;
  update turn t set previous_leaf_id = begun.previous_leaf_id
  where t.ended_at is null and t.conversation_id = $2 and t.turn_id <> $1 and t.previous_leaf_id = begun.question_id
    and t.created_at >= begun.created_at;
  update message m set parent_id = q.parent_id from message q where q.turn_id = $1 and m.parent_id = q.message_id and m.turn_id <> $1;
  delete from message m where m.turn_id = $1;
  -- The question of a regeneration keeps its other responses. What was sent meanwhile follows the one that was shown before, or the newest.
  update message m set parent_id = a.message_id
  from (
    select message_id from message where parent_id = begun.question_id and role = 'assistant'
    order by continues(begun.previous_leaf_id, message_id) desc, message_id desc limit 1
  ) a
  where m.parent_id = begun.question_id and m.role = 'user';
  update conversation c set leaf_id = coalesce(newest_leaf($2, begun.previous_leaf_id), newest_leaf($2, null))
  where c.conversation_id = $2 and c.leaf_id = begun.question_id;
end $$;

-- How often the deletion of an object has failed, and when it is tried again.
alter table deleted_object add column attempts int not null default 0, add column retry_at timestamptz not null default now();
create index deleted_object_retry on deleted_object (retry_at);

-- Size of a copy's text and HTML, and of the text that a conversation was imported with. What exists already counts as nothing.
alter table share add column bytes bigint not null default 0 constraint share_bytes_not_negative check (bytes >= 0);
alter table conversation add column imported_bytes bigint not null default 0
  constraint conversation_imported_bytes_not_negative check (imported_bytes >= 0);
create index conversation_imported_bytes on conversation (user_id) where imported_bytes > 0;
