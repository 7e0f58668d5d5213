-- Users keep many conversations: they pin, archive, rename and search them, and can undo a deletion. What is searched has tables of its own,
-- because messages and conversations are updated with every turn, and each update would write to the large indexes again.

create extension if not exists pg_trgm;
-- Adds the user to the indexes below, so that a word that all users write costs a user no more than their own messages.
create extension if not exists btree_gin;

alter table conversation
  add column pinned_at timestamptz,
  add column archived_at timestamptz,
  -- When it was deleted. It is hidden from then on, and erased a minute later unless the user restores it.
  add column deleted_at timestamptz,
  -- Who wrote the title: the first words of the first message, a model, or the user, whose title is never replaced.
  add column title_by text not null default 'text' constraint conversation_title_by check (title_by in ('text', 'model', 'user'));
create index conversation_pinned on conversation (user_id, pinned_at) where pinned_at is not null;
create index conversation_archived on conversation (user_id, archived_at) where archived_at is not null;
create index conversation_deleted on conversation (deleted_at) where deleted_at is not null;

-- The words of each message, of its first 16 384 characters.
create table message_search (
  message_id uuid primary key references message on delete cascade,
  conversation_id uuid not null references conversation on delete cascade,
  user_id uuid not null references account on delete cascade,
  words tsvector not null
);
-- Few matches are found by their words, many by reading the newest messages. Postgres chooses by its statistics.
create index message_search_words on message_search using gin (user_id, words) with (gin_pending_list_limit = 512);
create index message_search_newest on message_search (user_id, message_id desc);
create index message_search_conversation on message_search (conversation_id);
alter table message_search alter column words set statistics 1000;

create table title_search (
  conversation_id uuid primary key references conversation on delete cascade,
  user_id uuid not null references account on delete cascade,
  title text not null
);
create index title_search_title on title_search using gin (user_id, title gin_trgm_ops);

-- The language of a message isn't known, so words are indexed as they are.
create function search_words(body text) returns tsvector language sql immutable as $$
  select to_tsvector('simple', left(body, 16384))
$$;

create function message_search_add() returns trigger language plpgsql as $$
begin
  insert into message_search (message_id, conversation_id, user_id, words)
  select new.message_id, new.conversation_id, c.user_id, search_words(new.body)
  from conversation c where c.conversation_id = new.conversation_id
  on conflict (message_id) do update set words = excluded.words;
  return null;
end $$;
create trigger message_search_add after insert or update of body on message for each row execute function message_search_add();

create function title_search_add() returns trigger language plpgsql as $$
begin
  insert into title_search (conversation_id, user_id, title) values (new.conversation_id, new.user_id, new.title)
  on conflict (conversation_id) do update set title = excluded.title;
  return null;
end $$;
create trigger title_search_add after insert or update of title on conversation for each row execute function title_search_add();

insert into title_search (conversation_id, user_id, title) select conversation_id, user_id, title from conversation;
insert into message_search (message_id, conversation_id, user_id, words)
select m.message_id, m.conversation_id, c.user_id, search_words(m.body) from message m join conversation c using (conversation_id);

select grant_app_role();
