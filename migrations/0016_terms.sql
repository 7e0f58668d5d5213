-- Which version of the terms an account has accepted, and when: an owner may have to prove it. Null for accounts that were created before
-- this migration or not by their user.
alter table account
  add column terms_version text,
  add column terms_accepted_at timestamptz,
  add constraint account_terms check ((terms_version is null) = (terms_accepted_at is null));
