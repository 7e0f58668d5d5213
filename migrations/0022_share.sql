-- What leaves and enters an account: read-only links to a copy of a conversation, and imports of conversations from files. The link's token is
-- stored as a hash, so that a leaked table opens no link. Imported messages have turn ids of their own, but no turn and no ledger row: nothing
-- was called, so nothing is counted.

create table share (
  share_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  conversation_id uuid not null references conversation on delete cascade,
  -- SHA-256 of the token.
  token_hash bytea not null unique,
  title text not null,
  -- The messages as they were when the link was created, with their HTML.
  content jsonb not null,
  -- Version of the renderer that wrote the HTML.
  html_version smallint not null,
  created_at timestamptz not null default now(),
  -- Null is never.
  expires_at timestamptz
);
create index share_user on share (user_id, created_at desc);
create index share_conversation on share (conversation_id);
create index share_expires_at on share (expires_at) where expires_at is not null;

create table import (
  import_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  status text not null default 'running' constraint import_status check (status in ('running', 'finished', 'failed')),
  conversations int not null default 0,
  messages int not null default 0,
  -- Conversations that were imported before, or are in the account.
  duplicates int not null default 0,
  -- Conversations that couldn't be read or have no messages.
  skipped int not null default 0,
  -- Why it has failed.
  error text,
  -- Extended while it runs. Past: its server is gone.
  alive_until timestamptz not null,
  created_at timestamptz not null default now()
);
create index import_user on import (user_id, created_at desc);
-- One import per user at a time.
create unique index import_running on import (user_id) where status = 'running';

-- Hash of an imported conversation's content, by which a second import of the same file skips it.
alter table conversation add column import_hash bytea;
create unique index conversation_import on conversation (user_id, import_hash) where import_hash is not null;

select grant_app_role();
