-- Files that users attach to messages. Rows say what a file is and what models read of it; its bytes are in a table of their own, so that lists
-- never load them, or in an object store. Everything is erased with the message it belongs to, and a file that was never sent after a day.

alter table plan add column storage_bytes bigint not null default 100000000
  constraint plan_storage_not_negative check (storage_bytes >= 0);
update plan set storage_bytes = case plan_id when 'pro' then 2000000000 when 'max' then 20000000000 else storage_bytes end;

alter table model add column takes_images boolean not null default false;
update model set takes_images = true where provider in ('anthropic', 'openai') and model ~ '^(claude-|gpt-)';

create table attachment (
  attachment_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  -- Null until the file is sent with a message.
  message_id uuid references message on delete cascade,
  position int not null default 0,
  name text not null check (length(name) between 1 and 200),
  kind text not null check (kind in ('image', 'pdf', 'text')),
  media_type text not null,
  -- Size as it is stored, which counts against the plan's storage.
  bytes bigint not null check (bytes >= 0),
  width int check (width > 0),
  height int check (height > 0),
  -- What models read of a PDF or a text file, and its tokens in the o200k vocabulary.
  text text,
  tokens bigint check (tokens >= 0),
  sha256 bytea not null,
  -- The key of the bytes in the object store; null if they are in `attachment_data`.
  object_key text unique,
  created_at timestamptz not null,
  constraint attachment_image_has_size check ((kind = 'image') = (width is not null and height is not null)),
  constraint attachment_document_has_text check ((kind = 'image') = (text is null) and (text is null) = (tokens is null))
);
create index attachment_user on attachment (user_id, attachment_id);
create index attachment_message on attachment (message_id, position) where message_id is not null;
create index attachment_unsent on attachment (created_at) where message_id is null;

create table attachment_data (
  attachment_id uuid primary key references attachment on delete cascade,
  data bytea not null
);
-- Encoded images and PDFs are compressed already.
alter table attachment_data alter column data set storage external;

-- Objects whose rows are gone, however they were deleted. A job deletes them from the store.
create table deleted_object (
  object_key text primary key,
  deleted_at timestamptz not null default now()
);
create function note_deleted_object() returns trigger language plpgsql as $$
begin
  insert into deleted_object (object_key) values (old.object_key) on conflict do nothing;
  return null;
end $$;
create trigger attachment_object_deleted after delete on attachment
  for each row when (old.object_key is not null) execute function note_deleted_object();

select grant_app_role();
