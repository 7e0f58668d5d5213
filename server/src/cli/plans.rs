//! `plans`: what plans cost, new plans, and the plans in Stripe. Limits and models of plans are edited on `/admin/plans`.

use super::{connect_stripe, write_table};
use crate::{AppState, Config};
use anyhow::ensure;
use clap::Subcommand;
use domain::{Period, Plan, PlanId};
use std::io::Write;
use store::plan_sale::{self, Sale};

/// Id of the free plan.
const FREE: &str = "free";

/// Subcommands for plans.
#[derive(Subcommand)]
pub enum Plans {
    /// List plans with their prices, from the smallest.
    List,
    /// Add a plan with the limits and models of another one. It is larger than all others.
    Add {
        /// Id of the plan: lower-case letters, digits, - and _.
        id: String,
        /// Plan whose limits and models it starts with; /admin/plans changes them.
        #[arg(long)]
        like: String,
        /// What is sold.
        #[command(flatten)]
        sale: SaleOptions,
    },
    /// Change a plan's name, prices, trial or tagline. Omitted options stay unchanged.
    Set {
        /// Id of the plan.
        id: String,
        /// What is sold.
        #[command(flatten)]
        sale: SaleOptions,
    },
    /// Create or find the plans' products and prices in Stripe and save their ids. Safe to run again.
    Push,
}

/// Options about how a plan is sold.
#[derive(clap::Args)]
pub struct SaleOptions {
    /// Display name.
    #[arg(long)]
    name: Option<String>,
    /// Price of a month in cents, or in the smallest unit of the plan's currency.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=99_999_999))]
    monthly_cents: Option<i64>,
    /// Price of a year in cents; 0 if it isn't sold by the year.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=99_999_999))]
    yearly_cents: Option<i64>,
    /// Days of the free trial, for users who have never had one.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..=730))]
    trial_days: Option<i32>,
    /// One sentence for the pricing page.
    #[arg(long)]
    pitch: Option<String>,
}

impl SaleOptions {
    /// Checks the options for a plan.
    fn checked(self, plan: &PlanId) -> anyhow::Result<Sale> {
        let Self { name, monthly_cents, yearly_cents, trial_days, pitch } = self;
        let is_text = |text: Option<&str>, max: usize| {
            text.is_none_or(|text| {
                let is_plain = text.chars().all(domain::text::is_name_character);
                is_plain && !text.trim().is_empty() && text.chars().count() <= max
            })
        };
        ensure!(is_text(name.as_deref(), 40), "--name must have 1 to 40 characters, none of them invisible");
        ensure!(is_text(pitch.as_deref(), 200), "--pitch must have 1 to 200 characters, none of them invisible");
        let price = monthly_cents.unwrap_or(0).max(yearly_cents.unwrap_or(0));
        ensure!(plan.0 != FREE || price == 0, "{FREE} is the free plan, so it can't have a price");
        Ok(Sale { name, monthly_cents, yearly_cents, trial_days, pitch })
    }
}

/// Runs a `plans` subcommand.
pub(super) async fn run(command: Plans, config: &Config, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        Plans::List => list(db, out).await?,
        Plans::Add { id, like, sale } => {
            let (plan, like) = (PlanId(id), PlanId(like));
            let sale = sale.checked(&plan)?;
            let is_added = match plan_sale::add(db, &plan, &like, &sale, AppState::now()).await {
                Err(error) if error.constraint() == Some("plan_plan_id_check") => {
                    anyhow::bail!(
                        "{plan} isn't a valid id: use up to 32 lower-case letters, digits, - and _, beginning with a letter"
                    )
                }
                done => done?,
            };
            ensure!(is_added, "there is no plan {like}, or {plan} exists already; see plans list");
            writeln!(out, "Added {plan} with the limits and models of {like}. Change them on /admin/plans.")?;
            writeln!(out, "Run plans push to sell it.")?;
        }
        Plans::Set { id, sale } => {
            let plan = PlanId(id);
            let sale = sale.checked(&plan)?;
            ensure!(sale != Sale::default(), "nothing to change; see plans set --help");
            let is_set = plan_sale::set(db, &plan, &sale, AppState::now()).await?;
            ensure!(is_set, "there is no plan {plan}; see plans list");
            writeln!(out, "Changed {plan}. Run plans push to update Stripe; until then a new price can't be bought.")?;
            writeln!(out, "Existing subscriptions keep their price.")?;
        }
        Plans::Push => {
            let stripe = connect_stripe(config)?;
            let changes = crate::billing::plans::push(db, &stripe, &config.public_url).await?;
            for change in &changes {
                writeln!(out, "{change}")?;
            }
            if changes.is_empty() {
                writeln!(out, "Stripe is up to date. Nothing was changed.")?;
            }
        }
    }
    Ok(())
}

/// Writes all plans as a table, smallest first.
async fn list(db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    let price = |plan: &Plan, period| plan.price(period).map_or_else(|| "-".to_owned(), |price| price.to_string());
    let row = |plan: &Plan| {
        [
            plan.id.to_string(),
            plan.name.clone(),
            price(plan, Period::Month),
            price(plan, Period::Year),
            plan.trial_days.to_string(),
            plan.requests_per_minute.to_string(),
            plan.tokens_per_day.0.to_string(),
        ]
    };
    let rows: Vec<_> = store::plan::list(db).await?.iter().map(row).collect();
    write_table(out, ["PLAN", "NAME", "MONTH", "YEAR", "TRIAL DAYS", "REQUESTS/MINUTE", "TOKENS/DAY"], &rows)
}
