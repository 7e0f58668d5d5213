//! The command-line subcommands.

use crate::{AppState, Config};
use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use domain::{MicrosPerMillion, ModelName, Provider, Tokens};

/// Command line arguments. Serves the app if no subcommand is given.
#[derive(Parser)]
#[command(version, about = "Serves the app. Subcommands administer it.")]
pub struct Cli {
    /// Serves the app if none is given.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The available subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Manage admins.
    #[command(subcommand)]
    Admin(Admin),
    /// Manage models and prices.
    #[command(subcommand)]
    Models(Models),
    /// Manage plans in Stripe.
    #[command(subcommand)]
    Plans(Plans),
    /// Manage subscriptions in Stripe.
    #[command(subcommand)]
    Billing(Billing),
    /// Manage usage rollups.
    #[command(subcommand)]
    Usage(Usage),
    /// Apply database migrations and exit.
    Migrate,
    /// Fill the database with demo data (development builds only).
    #[cfg(debug_assertions)]
    Seed {
        /// Add paid subscriptions, for a server that isn't connected to Stripe.
        #[arg(long)]
        paying: bool,
    },
}

/// Subcommands for the usage rollups.
#[derive(Subcommand)]
pub enum Usage {
    /// Rebuild the rollups from the ledger. Responses that end meanwhile wait for it.
    Rebuild,
}

/// Subcommands for admins, the users who can open `/admin`.
#[derive(Subcommand)]
pub enum Admin {
    /// Make an existing user an admin.
    Add {
        /// The user's email.
        email: String,
    },
}

/// Subcommands for models.
#[derive(Subcommand)]
pub enum Models {
    /// Add a model, or set a new price for an existing one; options that aren't given stay unchanged.
    Add(Box<AddModel>),
    /// List models and their current prices.
    List,
}

/// Subcommands for plans.
#[derive(Subcommand)]
pub enum Plans {
    /// Create or find the plans' products and prices in Stripe and save their ids. Safe to run again.
    Push,
}

/// Subcommands for subscriptions.
#[derive(Subcommand)]
pub enum Billing {
    /// Compare every live subscription with Stripe and correct differences.
    Reconcile,
    /// Remove customers and subscriptions of another Stripe account, after moving from the simulator or from test to live mode.
    Forget,
}

/// Arguments of `models add`: a model and its price.
#[derive(clap::Args)]
pub struct AddModel {
    /// The provider's name for it.
    name: String,
    /// Wire format: openai (also Ollama, vLLM, OpenRouter) or anthropic.
    #[arg(long)]
    provider: Provider,
    /// Base URL if it isn't the provider's default, for example http://127.0.0.1:11434/v1.
    #[arg(long)]
    base_url: Option<String>,
    /// Dollars per million input tokens.
    #[arg(long)]
    input: String,
    /// Dollars per million output tokens.
    #[arg(long)]
    output: String,
    /// Dollars per million cached input tokens. Default: the input price.
    #[arg(long)]
    cache_read: Option<String>,
    /// Dollars per million input tokens written to a cache. Default: the input price.
    #[arg(long)]
    cache_write: Option<String>,
    /// Display name. Default: the model's name.
    #[arg(long)]
    label: Option<String>,
    /// Context window in tokens. Default: 128000.
    #[arg(long)]
    context: Option<u64>,
    /// Maximum output tokens. Default: 16384.
    #[arg(long)]
    max_output: Option<u64>,
    /// Plans that allow it, in addition to current ones. Default for a new model: all plans.
    #[arg(long, value_delimiter = ',')]
    plans: Option<Vec<String>>,
}

/// Runs a subcommand and writes its result to `out`.
///
/// # Errors
/// Returns an error to print on the command line.
pub async fn run(command: Command, config: &Config, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let db = store::Db::connect(&config.database_url, store::Purpose::Commands)
        .await
        .context("can't connect to Postgres at DATABASE_URL")?;
    store::migrate(&db).await.context("migrations")?;
    match command {
        Command::Migrate => writeln!(out, "The database schema is up to date.")?,
        Command::Admin(Admin::Add { email }) => {
            if !store::account::make_admin(&db, email.trim(), AppState::now()).await? {
                bail!("nobody has signed up as {email} yet");
            }
            writeln!(out, "{email} is an admin now.")?;
        }
        Command::Usage(Usage::Rebuild) => {
            store::rollup::rebuild(&db).await?;
            store::rollup::refresh(&db, time::Duration::ZERO).await?;
            writeln!(out, "The rollups are rebuilt.")?;
        }
        Command::Models(Models::Add(model)) => {
            let state = if add(&db, &model).await? { "can be asked now" } else { "is switched off" };
            writeln!(
                out,
                "{} {state}, at ${} in and ${} out per million tokens.",
                model.name, model.input, model.output
            )?;
        }
        Command::Models(Models::List) => {
            for model in store::model::list(&db).await? {
                let price = store::model::price(&db, &model.name, AppState::now()).await?;
                let price = price.map_or_else(
                    || "no price: not for sale".to_owned(),
                    |list| {
                        let tier = list.tier(Tokens(0));
                        format!("${} in, ${} out", tier.input.to_usd(), tier.output.to_usd())
                    },
                );
                writeln!(out, "{:24} {:10} {price}", model.name.0, model.provider.as_str())?;
            }
        }
        Command::Plans(Plans::Push) => {
            let changes = crate::billing::plans::push(&db, &*stripe(config)?, &config.public_url).await?;
            for change in &changes {
                writeln!(out, "{change}")?;
            }
            if changes.is_empty() {
                writeln!(out, "Stripe is up to date. Nothing was changed.")?;
            }
        }
        Command::Billing(Billing::Reconcile) => {
            let report = crate::billing::reconcile::reconcile(&db, &*stripe(config)?).await?;
            for drift in &report.drift {
                writeln!(out, "{}: {}; {}", drift.id, drift.what, drift.mended)?;
            }
            writeln!(out, "{} subscriptions compared, {} differed.", report.checked, report.drift.len())?;
        }
        Command::Billing(Billing::Forget) => {
            let forgotten = crate::billing::reconcile::forget(&db, &*stripe(config)?).await?;
            writeln!(out, "{forgotten} customers of another account forgotten.")?;
        }
        #[cfg(debug_assertions)]
        Command::Seed { paying } => {
            crate::seed::run(config, &db, paying, out).await?;
            store::rollup::refresh(&db, time::Duration::ZERO).await?;
        }
    }
    Ok(())
}

fn stripe(config: &Config) -> anyhow::Result<std::sync::Arc<crate::billing::Billing>> {
    crate::billing::Billing::new(config)?.context("STRIPE_SECRET_KEY isn't set")
}

async fn add(db: &store::Db, model: &AddModel) -> anyhow::Result<bool> {
    let price = |name: &str, text: &str| {
        MicrosPerMillion::parse_usd(text)
            .with_context(|| format!("--{name}: dollars per million tokens, like 0.25, not negative"))
    };
    ensure!(!model.name.trim().is_empty(), "the model name must not be empty");
    let (context, max_output) = (model.context.unwrap_or(u64::MAX), model.max_output.unwrap_or(u64::MAX));
    ensure!(context > max_output.min(256), "--context must be larger than the minimum output");
    if let Some(url) = &model.base_url {
        ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "--base-url must begin with http:// or https://"
        );
        ensure!(
            model.provider == Provider::OpenAi,
            "--base-url requires --provider openai; for Anthropic set ANTHROPIC_BASE_URL"
        );
    }
    let plans = store::plan::list(db).await?;
    for plan in model.plans.iter().flatten() {
        ensure!(plans.iter().any(|known| known.id.0 == *plan), "unknown plan {plan}");
    }
    let name = ModelName(model.name.trim().to_owned());
    let new = store::model::NewModel {
        label: model.label.as_deref(),
        name: &name,
        provider: model.provider,
        base_url: model.base_url.as_deref(),
        context: model.context.map(Tokens),
        max_output: model.max_output.map(Tokens),
        input: price("input", &model.input)?,
        cache_read: model.cache_read.as_deref().map(|text| price("cache-read", text)).transpose()?,
        cache_write: model.cache_write.as_deref().map(|text| price("cache-write", text)).transpose()?,
        output: price("output", &model.output)?,
        plans: model.plans.as_deref(),
    };
    Ok(store::model::add(db, &new, AppState::now()).await?)
}
