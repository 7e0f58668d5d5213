-- Only for checks of this branch: the columns that the message tree adds.
alter table message add column parent_id uuid references message on delete cascade;
alter table conversation add column leaf_id uuid;
