-- Conversations, turns and messages. Deleting a conversation deletes its text and nothing else: meters and ledger don't depend on these
-- rows.

create table conversation (
  conversation_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  title text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index conversation_user on conversation (user_id, updated_at desc);

-- One question and its answer. Owns uniqueness and idempotency (the ledger is partitioned and cannot), and holds the lease of the process
-- that runs it.
create table turn (
  turn_id uuid primary key,
  user_id uuid references account on delete set null,
  subject text not null,
  conversation_id uuid references conversation on delete set null,
  request_hash bytea not null,
  -- The turn that this one regenerates.
  retry_of uuid,
  alive_until timestamptz not null,
  ended_at timestamptz,
  -- When the meters were settled; the reaper settles an ended turn where this is null.
  meter_settled_at timestamptz,
  created_at timestamptz not null
);
create index turn_running on turn (alive_until) where ended_at is null;
create index turn_unsettled on turn (ended_at) where meter_settled_at is null;

create table message (
  message_id uuid primary key,
  conversation_id uuid not null references conversation on delete cascade,
  turn_id uuid not null,
  role text not null check (role in ('user', 'assistant')),
  body text not null,
  status text not null check (status in ('finished', 'stopped', 'truncated', 'failed')),
  model text,
  -- The turn that replaced this message when the answer was regenerated; nothing is deleted.
  superseded_by uuid,
  created_at timestamptz not null
);
create unique index message_turn_role on message (turn_id, role);
create index message_conversation on message (conversation_id, message_id);
create index message_superseded on message (superseded_by) where superseded_by is not null;
