-- What the owner is told of by mail and webhook: once when it begins, once when it is over. A cause is a kind and what it is about.

create table alert (
  alert_id uuid primary key,
  kind text not null,
  about text not null,
  said text not null,
  began_at timestamptz not null,
  -- when a server last saw the cause: what one server alone can see is over once it has gone unseen for a while
  seen_at timestamptz not null,
  ended_at timestamptz
);
create unique index alert_standing on alert (kind, about) where ended_at is null;
create index alert_began on alert (began_at desc);
