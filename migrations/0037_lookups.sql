-- Deleting a conversation or an account read all turns to find its own, because nothing deletes turns and both keys had no index: a second
-- for each conversation at ten million turns. The alerts read all jobs every minute, and the job that removes the content of old ones does so
-- every hour, although jobs that are done are kept.

create index turn_conversation on turn (conversation_id) where conversation_id is not null;
create index turn_user on turn (user_id) where user_id is not null;
-- Jobs that aren't done, dead letters included.
create index job_open on job (dead_at) where done_at is null;
create index job_content on job (done_at) where payload <> '{}';
