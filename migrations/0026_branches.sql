-- An edited question keeps the files of the message that it was edited from: a file is stored once, with the first version. An imported
-- conversation is kept for its days from its import on: by the time of its last message it could be erased at once.

-- The message whose files this version of it has too.
alter table message add column files_of uuid references message on delete set null;
create index message_files_of on message (files_of) where files_of is not null;

-- When it was imported; null for others.
alter table conversation add column imported_at timestamptz;
update conversation set imported_at = now() where import_hash is not null;

-- Returns whether the path to a leaf continues the one to a message, or the message is gone. A question is not added to a path that its prompt
-- doesn't have. Volatile, so that it sees what was committed while its caller waited for a lock.
create function continues(leaf uuid, message uuid) returns boolean language sql volatile as $$
  with recursive path as (
    select m.message_id, m.parent_id from message m where m.message_id = $1
    union all
    select m.message_id, m.parent_id from path join message m on m.message_id = path.parent_id where path.message_id <> $2
  )
  select exists (select from path where message_id = $2) or not exists (select from message m where m.message_id = $2)
$$;
