//! `seed`: a demo company that has grown for some months. It has an admin, users who joined over time, paying users with invoices in the Stripe
//! simulator, usage of several models with errors, stops, refusals and ratings, and conversations to read. Development builds only; there
//! is no other fake data.

mod company;
mod content;
mod payments;
mod turns;

use self::company::{ADMIN, Access, DEMO_USER, Member, Purchase};
use self::payments::Simulator;
use crate::accounts::password::Passwords;
use crate::{AppState, Config};
use anyhow::{Context as _, ensure};
use domain::{Plan, PlanId, SecurityEvent, Tokens, UserId, brand};
use std::io::Write;
use store::account::{Created, NewAccount};
use time::{Duration, OffsetDateTime};

/// The password of every account.
const PASSWORD: &str = "demo company";

/// How the browser of a demo account describes itself.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

/// Fills the database with `users` users who joined within `days` days, and refreshes the usage rollups. Adds no data if the database was
/// seeded before. Plans are bought at the Stripe simulator if the server is connected to it, else granted by the admin.
pub(super) async fn run(
    config: &Config,
    db: &store::Db,
    (users, days): (u32, u16),
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if store::account::credentials(db, ADMIN).await?.is_some() {
        writeln!(out, "The account {ADMIN} already exists. No demo data was added.")?;
        return Ok(());
    }
    let app = AppState::new(config.clone(), db.clone())?;
    let simulator = Simulator::connect(&app).await?;
    let now = AppState::now();
    store::ledger::make_months(db, now - Duration::days(i64::from(days) + 31), now).await?;
    let plans = store::plan::list(db).await?;
    let trial_days = plans.iter().find(|plan| plan.id.0 == "pro").map_or(0, |plan| plan.trial_days);
    let members = company::members(i64::from(users), i64::from(days), i64::from(trial_days), now);
    let password_hash = Passwords::new()?.hash(PASSWORD.into()).await?;
    let seed = Seed { app, simulator, plans, password_hash, now };
    let (mut admin, mut turns, mut payers) = (None, 0, 0);
    for (index, member) in members.iter().enumerate() {
        let user_id = seed.add_account(member).await?;
        let actor = *admin.get_or_insert(user_id);
        payers += u32::from(seed.give_access(member, user_id, actor).await?);
        turns += seed.add_usage(u64::try_from(index)?, member, user_id).await?;
    }
    store::rollup::refresh(db, Duration::ZERO).await?;
    writeln!(out, "Added {} users, {turns} turns and {payers} subscriptions.", members.len())?;
    writeln!(out, "Sign in as {ADMIN} (an admin) or {DEMO_USER}, password: {PASSWORD}")?;
    Ok(())
}

/// What all accounts are made with.
struct Seed {
    app: AppState,
    /// The Stripe simulator, if the server is connected to it.
    simulator: Option<Simulator>,
    plans: Vec<Plan>,
    password_hash: String,
    now: OffsetDateTime,
}

impl Seed {
    fn plan(&self, id: &str) -> anyhow::Result<&Plan> {
        self.plans.iter().find(|plan| plan.id.0 == id).with_context(|| format!("there is no plan {id}"))
    }

    /// Returns the subject under which a member's usage is counted.
    fn subject(&self, member: &Member, user_id: UserId) -> anyhow::Result<String> {
        if member.is_verified { self.app.subject(&member.email) } else { self.app.own_subject(user_id) }
    }

    async fn add_account(&self, member: &Member) -> anyhow::Result<UserId> {
        let (db, user_id) = (&self.app.db, UserId::at(member.joined_at));
        let new = NewAccount {
            user_id,
            email: &member.email,
            name: &member.name,
            password_hash: Some(self.password_hash.as_str()),
            subject: &self.subject(member, user_id)?,
            is_admin: member.email == ADMIN,
            email_verified_at: member.is_verified.then_some(member.joined_at + Duration::minutes(4)),
            address_hash: &self.app.subject(&member.email)?,
            sign_up_block: None,
            accepted_terms: Some((brand::TERMS_VERSION, member.joined_at)),
        };
        ensure!(store::account::create(db, &new).await? == Created::Yes, "{} has an account already", member.email);
        store::backdate::account(db, user_id, member.joined_at).await?;
        for ago in [Duration::hours(3), Duration::days(2), Duration::days(9)] {
            let at = self.now - ago;
            if member.joined_at < at {
                let kind = SecurityEvent::SignIn;
                let event = store::security_event::NewEvent {
                    user_id: Some(user_id),
                    kind,
                    origin: "",
                    user_agent: BROWSER,
                    now: at,
                };
                store::security_event::add(db, &event).await?;
            }
        }
        Ok(user_id)
    }

    /// Buys or grants a member's plan. Returns whether it was bought.
    async fn give_access(&self, member: &Member, user_id: UserId, admin: UserId) -> anyhow::Result<bool> {
        match (&member.access, &self.simulator) {
            (Access::Free, _) => Ok(false),
            (Access::Granted(plan), _) => {
                self.grant(user_id, admin, plan, "Beta tester", member.joined_at + Duration::hours(20)).await?;
                Ok(false)
            }
            (Access::Bought(purchase), Some(simulator)) => {
                let buyer = ::billing::NewCustomer { user_id, email: &member.email, name: &member.name };
                simulator.buy(&self.app, &buyer, purchase, self.plan(purchase.plan)?).await?;
                Ok(true)
            }
            (Access::Bought(Purchase { cancels_at: None, plan, began_at, .. }), None) => {
                self.grant(user_id, admin, plan, "Payments aren't connected", *began_at).await?;
                Ok(false)
            }
            (Access::Bought(_), None) => Ok(false),
        }
    }

    async fn grant(
        &self,
        user_id: UserId,
        admin: UserId,
        plan: &str,
        why: &str,
        at: OffsetDateTime,
    ) -> anyhow::Result<()> {
        let plan = PlanId(plan.to_owned());
        let done = store::account::set_plan(&self.app.db, admin, user_id, &plan, Some(why), at.min(self.now)).await?;
        ensure!(done, "plan {plan} can't be granted");
        Ok(())
    }

    /// Adds the conversations and usage of a member. Returns the number of turns.
    async fn add_usage(&self, number: u64, member: &Member, user_id: UserId) -> anyhow::Result<u32> {
        if !member.is_verified {
            return Ok(0);
        }
        let subject = self.subject(member, user_id)?;
        let mut ledger = turns::Ledger::new(&self.app.db, user_id, &subject, self.now);
        let limit =
            |at: OffsetDateTime| -> anyhow::Result<Tokens> { Ok(self.plan(member.plan_at(at))?.tokens_per_day) };
        ledger.add_days(number, member, limit).await?;
        if [ADMIN, DEMO_USER].contains(&member.email.as_str()) {
            ledger.add_conversations(&content::long()).await?;
        }
        ledger.finish().await
    }
}
