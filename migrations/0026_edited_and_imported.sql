-- An edited question keeps the files of the message that it was edited from: a file is stored once, with the first version. An imported
-- conversation is kept for its plan's days from its import on: by the time of its last message it would often be erased at once.

-- The message whose files this version of it has too.
alter table message add column files_of uuid references message on delete set null;
create index message_files_of on message (files_of) where files_of is not null;

-- When it was imported; null for others.
alter table conversation add column imported_at timestamptz;
update conversation set imported_at = now() where import_hash is not null;
