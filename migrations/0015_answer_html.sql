-- Messages are rendered once, on the server, and their HTML is kept beside their text. The page renders a message again only when its HTML
-- is missing or was written by another version of the renderer. Users rate responses, which tells the owner how well each model does.

alter table message add column html text;
-- Version of the renderer that wrote `html`.
alter table message add column html_version smallint;
alter table message add constraint message_html_has_a_version check ((html is null) = (html_version is null));

-- What a user thinks of a response. Has no text, so it outlives its conversation, but not its user.
create table feedback (
  turn_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  -- The model that responded.
  model text not null,
  is_good boolean not null,
  created_at timestamptz not null default now()
);
create index feedback_user on feedback (user_id);
