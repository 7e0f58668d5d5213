-- The viewer and the effective plan, each defined once. Both were repeated in several queries, and a change to one copy could have left
-- another with different limits. The planner inlines both, so a query for one user is one index lookup, as before.
--
-- Rows are not locked through them: a query that locks an account names the table.

-- Every user with their plan and its limits, where a temporary override replaces the plan's limits until it ends.
create view viewer as
select a.user_id, a.email, a.name, a.role = 'admin' as is_admin, a.paused_at is not null as is_paused, a.time_zone, a.subject,
       p.plan_id, p.name as plan_name, p.sort,
       case when a.limit_until > now() then coalesce(a.limit_requests, p.requests_per_minute)
            else p.requests_per_minute end as requests_per_minute,
       case when a.limit_until > now() then coalesce(a.limit_tokens, p.tokens_per_day)
            else p.tokens_per_day end as tokens_per_day,
       p.in_flight, p.max_output, p.monthly_cents, p.yearly_cents, p.currency, p.trial_days, p.monthly_price_id, p.yearly_price_id,
       p.pitch, p.shows_cost,
       array(select m.model from plan_model m where m.plan_id = p.plan_id order by m.sort) as models,
       -- While a payment is overdue: until when the plan is kept.
       (select max(s.grace_until) from subscription s
        where s.user_id = a.user_id and s.status = 'past_due' and not s.grace_is_over) as grace_until
from account a join plan p using (plan_id);

-- The plan that each user is entitled to: the largest of those that their subscriptions pay for and the one granted by an admin, else the
-- free plan. The condition on the subscription must match `domain::Subscription::holds`.
create function entitlement(at timestamptz) returns table (user_id uuid, plan_id text) language sql stable as $$
  select a.user_id, coalesce((
    select p.plan_id from plan p
    where p.plan_id = a.granted_plan_id
       or exists (select from subscription s where s.user_id = a.user_id and s.plan_id = p.plan_id
                  and (s.status in ('trialing', 'active') or (s.status = 'past_due' and s.grace_until > at)))
    order by p.sort desc limit 1), 'free')
  from account a
$$;
