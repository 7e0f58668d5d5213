-- What users and models say to each other. Deleting a conversation deletes its words and nothing else: meters and
-- ledger don't hang on these rows.

create table conversation (
  conversation_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  title text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index conversation_user on conversation (user_id, updated_at desc);

-- One question and its answer. Owns uniqueness and idempotency (the ledger is partitioned and can't), and says
-- whether the process that runs it is alive.
create table turn (
  turn_id uuid primary key,
  user_id uuid references account on delete set null,
  subject text not null,
  conversation_id uuid references conversation on delete set null,
  request_hash bytea not null,
  alive_until timestamptz not null,
  ended_at timestamptz,
  -- when the meters were told; an ended turn without it is settled by the reaper
  settled_at timestamptz,
  created_at timestamptz not null
);
create index turn_running on turn (alive_until) where ended_at is null;
create index turn_unsettled on turn (ended_at) where settled_at is null;

create table message (
  message_id uuid primary key,
  conversation_id uuid not null references conversation on delete cascade,
  turn_id uuid not null,
  role text not null check (role in ('user', 'assistant')),
  body text not null,
  status text not null check (status in ('finished', 'stopped', 'truncated', 'failed')),
  model text,
  created_at timestamptz not null
);
create unique index message_turn_role on message (turn_id, role);
create index message_conversation on message (conversation_id, message_id);
