//! `models`: models and their prices.

use crate::AppState;
use anyhow::{Context as _, ensure};
use clap::Subcommand;
use domain::{MicrosPerMillion, ModelName, Provider, Tokens};
use std::io::Write;

/// Subcommands for models.
#[derive(Subcommand)]
pub enum Models {
    /// Add a model, or set a new price for an existing one. Omitted options stay unchanged.
    Add(Box<AddModel>),
    /// List models and their current prices.
    List,
}

/// Arguments of `models add`: a model and its price.
#[derive(clap::Args)]
pub struct AddModel {
    /// Name of the model in the provider's API.
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
    /// Plans that allow the model, in addition to its current ones. Default for a new model: all plans.
    #[arg(long, value_delimiter = ',')]
    plans: Option<Vec<String>>,
}

/// Runs a `models` subcommand.
pub(super) async fn run(command: Models, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        Models::Add(model) => {
            let state = if add(db, &model).await? { "is available" } else { "is switched off" };
            writeln!(
                out,
                "{} {state}. Price per million tokens: ${} input, ${} output.",
                model.name, model.input, model.output
            )?;
        }
        Models::List => list(db, out).await?,
    }
    Ok(())
}

/// Writes one line for each model: its name, provider, and prices per million tokens.
async fn list(db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    for model in store::model::list(db).await? {
        let price = match store::model::price(db, &model.name, AppState::now()).await? {
            Some(price) => {
                let tier = price.tier(Tokens(0));
                format!("${} input, ${} output", tier.input.to_usd(), tier.output.to_usd())
            }
            None => "no price, unavailable".to_owned(),
        };
        writeln!(out, "{:24} {:10} {price}", model.name.0, model.provider.as_str())?;
    }
    Ok(())
}

/// Saves a model and its price. Returns whether the model is enabled.
async fn add(db: &store::Db, model: &AddModel) -> anyhow::Result<bool> {
    let price = |name: &str, text: &str| {
        MicrosPerMillion::parse_usd(text)
            .with_context(|| format!("--{name} must be dollars per million tokens, such as 0.25, and not negative"))
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
