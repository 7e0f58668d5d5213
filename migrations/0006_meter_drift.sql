-- Where a user's meter and the ledger said different things, for the owner to see; the meter was rebuilt then.
create table meter_drift (
  subject text not null,
  found_tokens bigint not null,
  ledger_tokens bigint not null,
  at timestamptz not null,
  primary key (subject, at)
);
create index meter_drift_at on meter_drift (at desc);
