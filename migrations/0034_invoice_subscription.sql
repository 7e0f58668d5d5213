-- The discounts of a subscription are computed from its invoices (0032) whenever one of them changes, for which there was no index: each change
-- read the invoices of all customers.

create index invoice_subscription on invoice (subscription_id, created_at) where subscription_id is not null;
