-- Requests by API with an `Idempotency-Key`: a client that lost the connection sends the same request again and gets the same answer, and the
-- model is called once. Only these answers are stored, for 24 hours.

create table api_call (
  user_id uuid not null references account on delete cascade,
  -- SHA-256 of the header's value.
  idempotency_hash bytea not null check (length(idempotency_hash) = 32),
  -- SHA-256 of endpoint and body: the same value with another request is refused.
  request_hash bytea not null check (length(request_hash) = 32),
  -- The turn that answers. Not a foreign key: the turn is written later, and may be undone.
  turn_id uuid not null,
  -- The answer; null until it is complete.
  status int,
  content_type text,
  body bytea,
  created_at timestamptz not null,
  primary key (user_id, idempotency_hash),
  constraint api_call_answer_is_whole check ((status is null) = (body is null) and (content_type is null) = (body is null))
);
create index api_call_created_at on api_call (created_at);

select grant_app_role();
