-- Hedging: the fallback is asked as well once a model has been silent for so long, and the first to answer is used. Both providers may
-- bill, so the owner switches it on per model.

alter table model add column hedge_after_ms int,
  add constraint model_hedge_after check (hedge_after_ms is null or hedge_after_ms between 1 and 600000 and fallback is not null);
