-- Proof of identity: whether an address belongs to its account, links and codes sent by mail, sessions that expire, and a record of what
-- happened to each account. Before, the subject (the key of meters and trials) was the address's from sign-up on, so that anyone could use
-- up a stranger's quota with an alias of their address. Now it is the account's own until the address is verified.

alter table account
  alter column password_hash drop not null,
  -- When a link or code sent to `email` was used; null is unverified. Existing accounts are unverified.
  add column email_verified_at timestamptz,
  -- Whether `subject` is the account's own. Where it is false and the address is unverified, a job replaces the subject: only the server
  -- has the key.
  add column subject_is_own boolean not null default false,
  -- The subject before the current one. Older ledger rows and rollups have it.
  add column former_subject text;
create index account_former_subject on account (former_subject) where former_subject is not null;
create index account_shared_subject on account (user_id) where not subject_is_own and email_verified_at is null;

create function account_subject_changed() returns trigger language plpgsql as $$
begin
  new.former_subject := old.subject;
  insert into usage_subject (subject) values (new.subject) on conflict do nothing;
  return new;
end $$;
create trigger account_subject_changed before update of subject on account for each row
  when (old.subject <> new.subject) execute function account_subject_changed();

-- The subject under which reports list an account: an account from before this migration keeps its place until its address is verified.
create function reported_subject(a account) returns text language sql immutable as $$
  select case when a.subject_is_own then coalesce(a.former_subject, a.subject) else a.subject end
$$;

-- The account that reports name for each subject, at most one: the oldest that has it, else the oldest that had it before.
create view reported_account as
select a.subject, a.user_id, a.email, a.plan_id from account a
where not exists (
  select from account b where b.subject = a.subject and (b.created_at, b.user_id) < (a.created_at, a.user_id))
union all
select a.former_subject, a.user_id, a.email, a.plan_id from account a
where a.former_subject is not null
  and not exists (select from account b where b.subject = a.former_subject)
  and not exists (
    select from account b
    where b.former_subject = a.former_subject and (b.created_at, b.user_id) < (a.created_at, a.user_id));

-- As before, except that the owner is the reported subject.
create or replace function subscription_paid(id text) returns void language sql set timezone = 'UTC' as $$
  update subscription_price p
  set subject_id = coalesce(owner.subject_id, q.subject_id), paid_from = paid.begins_at, paid_until = paid.ends_at
  from subscription s
  left join account a on a.user_id = s.user_id
  left join usage_subject owner on owner.subject = reported_subject(a)
  cross join lateral (
    select max(created_at) as at from invoice where subscription_id = s.subscription_id and paid_minor > 0
  ) last
  cross join subscription_price q
  cross join lateral (
    select
      case when last.at is not null then greatest(q.begins_at, s.trial_end) end as begins_at,
      least(
        q.ends_at, s.ended_at,
        case when s.status not in ('active', 'past_due')
             then last.at + case s.period when 'year' then interval '1 year' else interval '1 month' end end) as ends_at
  ) paid
  where s.subscription_id = id and q.subscription_id = id and p.subscription_id = id and p.begins_at = q.begins_at
    and (p.subject_id, p.paid_from, p.paid_until)
      is distinct from (coalesce(owner.subject_id, q.subject_id), paid.begins_at, paid.ends_at)
$$;

-- The viewer also has whether their address is verified.
create or replace view viewer as
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
        where s.user_id = a.user_id and s.status = 'past_due' and not s.grace_is_over) as grace_until,
       a.email_verified_at is not null as is_verified
from account a join plan p using (plan_id);

-- Links and codes sent by mail. Only hashes are stored, so that a leaked table opens no account. Single use.
create table account_token (
  token_hash bytea primary key,
  user_id uuid not null references account on delete cascade,
  kind text not null check (kind in ('verify_email', 'reset_password', 'change_email', 'undo_email')),
  -- A short code that can be entered instead of following the link.
  code_hash bytea,
  -- The address it was sent to.
  email text not null,
  -- Wrong codes so far. At five, link and code are dead.
  attempts int not null default 0,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index account_token_user on account_token (user_id, kind, created_at);
create index account_token_expires on account_token (expires_at);

alter table session
  -- Names the session on pages and in forms, where neither token nor hash may appear.
  add column session_id uuid not null default gen_random_uuid(),
  add column created_at timestamptz not null default now(),
  add column last_seen_at timestamptz not null default now(),
  -- When the user last proved who they are in this session.
  add column authenticated_at timestamptz,
  add column user_agent text not null default '',
  -- Keyed hash of the client's address.
  add column origin text not null default '',
  add column absolute_expires_at timestamptz not null default now() + interval '180 days';

-- When a session expires: after its idle time, which is shorter for admins, and at its absolute limit.
create function session_ends_at(n session, role text) returns timestamptz language sql stable as $$
  select least(n.expires_at, n.absolute_expires_at, case when role = 'admin' then n.last_seen_at + interval '12 hours' end)
$$;

-- Browsers in which a user has signed in. They have an allowance of attempts of their own, so that other people's wrong passwords don't
-- slow their owner down, and a sign-in from any other browser is announced by mail.
create table known_browser (
  user_id uuid not null references account on delete cascade,
  -- Hash of the browser's cookie.
  browser_hash bytea not null,
  first_seen timestamptz not null,
  last_seen timestamptz not null,
  primary key (user_id, browser_hash)
);
create index known_browser_last_seen on known_browser (last_seen);

-- What happened to accounts: sign-ins, failures, changes of password and address. Users see theirs as recent activity.
create table security_event (
  security_event_id uuid primary key,
  -- Null for an unknown address and after the account is deleted.
  user_id uuid references account on delete set null,
  kind text not null,
  origin text not null,
  user_agent text not null,
  created_at timestamptz not null
);
create index security_event_user on security_event (user_id, created_at desc);
create index security_event_created on security_event (created_at);

-- The audit log keeps the addresses of its actors and targets, so that deleting an account leaves no entry without a name.
alter table audit
  add column actor_email text,
  add column target_email text;
update audit u set actor_email = (select email from account a where a.user_id = u.actor_id),
                   target_email = (select email from account a where a.user_id = u.target_user_id);

create function audit_emails() returns trigger language plpgsql as $$
begin
  new.actor_email := (select email from account where user_id = new.actor_id);
  new.target_email := (select email from account where user_id = new.target_user_id);
  return new;
end $$;
create trigger audit_emails before insert on audit for each row execute function audit_emails();

-- The audit log is append-only. Deleting an account removes only its ids.
create function audit_guard() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' then
    if coalesce(new.actor_id = old.actor_id, new.actor_id is null)
        and coalesce(new.target_user_id = old.target_user_id, new.target_user_id is null)
        and to_jsonb(new) - '{actor_id,target_user_id}'::text[] = to_jsonb(old) - '{actor_id,target_user_id}'::text[] then
      return new;
    end if;
  end if;
  raise exception 'the audit log is append-only';
end $$;
create trigger audit_guard before update or delete on audit for each row execute function audit_guard();
create trigger audit_guard_truncate before truncate on audit execute function audit_guard();
