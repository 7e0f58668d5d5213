-- Only for checks of this branch: the table of attachments.
create table attachment (
  attachment_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  message_id uuid references message on delete cascade,
  position int,
  name text,
  kind text,
  media_type text,
  bytes bigint
);
