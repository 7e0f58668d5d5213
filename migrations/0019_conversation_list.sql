-- Only for checks of this branch: the columns of the list of conversations.
alter table conversation
  add column deleted_at timestamptz,
  add column title_by text not null default 'text';
