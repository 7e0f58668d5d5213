-- What users set for their conversations: instructions for all of them or for one, saved presets, and per conversation the model, the reasoning
-- effort and the length of answers. Conversations that aren't kept: temporary ones, and those older than a plan or the deployment keeps them.
-- Ratings may have a comment.

alter table account
  add column instructions text not null default ''
    constraint account_instructions_length check (length(instructions) <= 4000);

-- Settings that a user has saved under a name. A conversation gets a copy of them.
create table preset (
  preset_id uuid primary key,
  user_id uuid not null references account on delete cascade,
  name text not null constraint preset_name_length check (length(name) between 1 and 60),
  instructions text not null default '' constraint preset_instructions_length check (length(instructions) <= 4000),
  -- Null leaves the choice to the plan or to the model. A model may be gone by the time the preset is used.
  model text,
  effort text constraint preset_effort_length check (length(effort) between 1 and 32),
  answer_length text check (answer_length in ('short', 'medium', 'long')),
  created_at timestamptz not null
);
create unique index preset_name on preset (user_id, lower(name));

alter table conversation
  add column instructions text not null default ''
    constraint conversation_instructions_length check (length(instructions) <= 4000),
  -- The model and effort that its user chose last, null before the first choice.
  add column model text,
  add column effort text constraint conversation_effort_length check (length(effort) between 1 and 32),
  add column answer_length text check (answer_length in ('short', 'medium', 'long')),
  -- A temporary conversation isn't listed or searched, and is erased a day after its last message.
  add column is_temporary boolean not null default false;
-- For the job that erases old conversations.
create index conversation_updated on conversation (updated_at);

-- Days after its last message at which a conversation is erased; null keeps it. The smaller of the two applies.
alter table plan add column retention_days int constraint plan_retention_days_range check (retention_days between 1 and 3650);
alter table deployment
  add column retention_days int constraint deployment_retention_days_range check (retention_days between 1 and 3650);

-- What the user wrote to the owner about the response, beside the rating. Kept with the rating, until its account is deleted.
alter table feedback add column comment text constraint feedback_comment_length check (length(comment) between 1 and 2000);
create index feedback_comment on feedback (model, created_at desc) where comment is not null;
