//! `models`: models, how they are called, and their prices.

use super::write_table;
use crate::turn::probe::probe;
use crate::{AppState, Config};
use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use domain::{MicrosPerMillion, Model, ModelName, OutputLimit, ProviderName, Thinking, Tokens, UsageSource};
use std::io::Write;
use store::model::RemovedModel;
use store::model_rule::ModelSettings;
use time::Date;

/// Subcommands for models.
#[derive(Subcommand)]
pub enum Models {
    /// Add a model, or set a new price for an existing one. Omitted options stay unchanged.
    Add(Box<AddModel>),
    /// List models with their providers and current prices.
    List,
    /// Send one short request to a model, and show latency, usage and cost. It isn't recorded in the ledger.
    Test {
        /// Name of the model.
        name: String,
    },
    /// Remove a model. One that was called before is switched off and removed from all plans, because the ledger refers to its prices.
    Remove {
        /// Name of the model.
        name: String,
    },
}

/// Arguments of `models add`: a model and its price.
#[derive(clap::Args)]
pub struct AddModel {
    /// Name of the model in the provider's API.
    name: String,
    /// Name of its provider: openai, anthropic, or one added with `providers add`.
    #[arg(long)]
    provider: String,
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
    /// Dollars per million input tokens written to a cache with the longer lifetime. Default: the price of --cache-write.
    #[arg(long)]
    cache_write_long: Option<String>,
    /// Display name. Default: the model's name.
    #[arg(long)]
    label: Option<String>,
    /// Context window in tokens. Default: 128000.
    #[arg(long)]
    context: Option<u64>,
    /// Maximum output tokens. Default: 16384.
    #[arg(long)]
    max_output: Option<u64>,
    /// Whether it reasons before it answers: none, optional or always. Default: none.
    #[arg(long)]
    thinking: Option<Thinking>,
    /// Whether it reads images: true or false. Default: false.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    takes_images: Option<bool>,
    /// Reasoning efforts that users can choose, lowest first, for example low,medium,high. Default: none.
    #[arg(long, value_delimiter = ',')]
    efforts: Option<Vec<String>>,
    /// Smallest prompt in tokens that the provider caches at an explicit breakpoint (Anthropic). Default: no breakpoints are set.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    min_cacheable: Option<u64>,
    /// Request field that limits its output: max_tokens or max_completion_tokens. Default: detected by the first call.
    #[arg(long)]
    output_limit: Option<OutputLimit>,
    /// Maximum milliseconds until its response begins. Default: the provider's.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    first_byte_timeout_ms: Option<u32>,
    /// Maximum milliseconds of silence within a response. Default: the provider's.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    idle_timeout_ms: Option<u32>,
    /// Day on which its provider switches it off, for example 2026-12-31. Default: none.
    #[arg(long, value_parser = parse_day)]
    ends_at: Option<Date>,
    /// Plans that allow it, in addition to current ones. Default for a new model: all plans.
    #[arg(long, value_delimiter = ',')]
    plans: Option<Vec<String>>,
}

/// Parses a day, such as 2026-12-31.
pub(super) fn parse_day(text: &str) -> Result<Date, &'static str> {
    Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).map_err(|_| "a day, like 2026-12-31")
}

/// Runs a `models` subcommand.
pub(super) async fn run(command: Models, config: &Config, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
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
        Models::Test { name } => {
            let models = store::model_rule::list(db, AppState::now()).await?;
            let found = models.into_iter().find(|row| row.model.name.0 == name);
            let found = found.with_context(|| format!("there is no model {name}"))?;
            write_test(db, config, &found.model, out).await?;
        }
        Models::Remove { name } => {
            let name = ModelName(name);
            match store::model::remove(db, &name).await? {
                RemovedModel::Deleted => writeln!(out, "{name} is deleted.")?,
                RemovedModel::SwitchedOff => writeln!(
                    out,
                    "{name} is switched off and removed from all plans. The ledger refers to its prices, so it stays on /admin/models."
                )?,
                RemovedModel::NotFound => bail!("there is no model {name}"),
            }
        }
    }
    Ok(())
}

/// Writes all models as a table, in the order of the model picker.
async fn list(db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    let row = |row: ModelSettings| {
        let ModelSettings { model, rules, price, .. } = row;
        let usd = |price: Option<MicrosPerMillion>| {
            price.map_or_else(|| "-".to_owned(), |price| format!("${}", price.to_usd()))
        };
        let state = match (rules.enabled, price) {
            (false, _) => "off",
            (true, None) => "no price",
            (true, Some(_)) => "on",
        };
        [
            model.name.0,
            model.provider.name.0,
            state.to_owned(),
            usd(price.map(|price| price.input)),
            usd(price.and_then(|price| price.cache_read)),
            usd(price.and_then(|price| price.cache_write)),
            usd(price.map(|price| price.output)),
            model.context.to_string(),
            model.max_output.to_string(),
            model.ends_at.map_or_else(|| "-".to_owned(), |day| day.to_string()),
        ]
    };
    let rows: Vec<_> = store::model_rule::list(db, AppState::now()).await?.into_iter().map(row).collect();
    let head =
        ["MODEL", "PROVIDER", "STATE", "INPUT", "CACHE READ", "CACHE WRITE", "OUTPUT", "CONTEXT", "MAX OUTPUT", "ENDS"];
    write_table(out, head, &rows)?;
    writeln!(out, "Prices are dollars per million tokens.")?;
    Ok(())
}

/// Saves a model and its price. Returns whether the model is enabled.
async fn add(db: &store::Db, model: &AddModel) -> anyhow::Result<bool> {
    let price = |name: &str, text: &str| {
        MicrosPerMillion::parse_usd(text)
            .with_context(|| format!("--{name} must be dollars per million tokens, such as 0.25, and not negative"))
    };
    let optional = |name: &str, text: &Option<String>| text.as_deref().map(|text| price(name, text)).transpose();
    ensure!(!model.name.trim().is_empty(), "the model name must not be empty");
    let (context, max_output) = (model.context.unwrap_or(u64::MAX), model.max_output.unwrap_or(u64::MAX));
    ensure!(context > max_output.min(256), "--context must be larger than the minimum output");
    let provider = ProviderName(model.provider.clone());
    ensure!(
        store::provider::find(db, &provider).await?.is_some(),
        "there is no provider {provider}; add it with providers add"
    );
    let plans = store::plan::list(db).await?;
    for plan in model.plans.iter().flatten() {
        ensure!(plans.iter().any(|known| known.id.0 == *plan), "unknown plan {plan}");
    }
    let efforts = model.efforts.clone().map(|mut efforts| {
        efforts.retain(|effort| !effort.is_empty());
        efforts
    });
    let name = ModelName(model.name.trim().to_owned());
    let new = store::model::NewModel {
        label: model.label.as_deref(),
        name: &name,
        provider: &provider,
        context: model.context.map(Tokens),
        max_output: model.max_output.map(Tokens),
        thinking: model.thinking,
        takes_images: model.takes_images,
        efforts: efforts.as_deref(),
        min_cacheable: model.min_cacheable.map(Tokens),
        output_limit: model.output_limit,
        first_byte_timeout_ms: model.first_byte_timeout_ms,
        idle_timeout_ms: model.idle_timeout_ms,
        ends_at: model.ends_at,
        input: price("input", &model.input)?,
        cache_read: optional("cache-read", &model.cache_read)?,
        cache_write: optional("cache-write", &model.cache_write)?,
        cache_write_long: optional("cache-write-long", &model.cache_write_long)?,
        output: price("output", &model.output)?,
        plans: model.plans.as_deref(),
    };
    Ok(store::model::add(db, &new, AppState::now()).await?)
}

/// Calls a model once and writes latency, usage and cost. Stores the output limit's field if the call had to detect it.
pub(super) async fn write_test(
    db: &store::Db,
    config: &Config,
    model: &Model,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if let Some(variable) = &model.provider.key_variable {
        ensure!(config.has_key(variable), "{variable} isn't set, so {} can't be called", model.provider.name);
    }
    let price = store::model::price(db, &model.name, AppState::now()).await?;
    let probe = probe(config, model, price.as_ref()).await.with_context(|| format!("{} failed", model.name))?;
    if let Some(limit) = probe.learned {
        store::model::set_output_limit(db, &model.name, limit).await?;
    }
    let first = probe.ttft_ms.map_or_else(|| "none".to_owned(), |ms| format!("{} ms", Tokens(ms)));
    let usage = &probe.usage;
    let source = match probe.source {
        UsageSource::Exact => "reported by the provider",
        UsageSource::Estimated => "estimated: the provider reported no consistent numbers",
    };
    let cost = probe.cost.map_or_else(|| "unknown: no price in force".to_owned(), |cost| format!("${}", cost.exact()));
    writeln!(out, "{} at {} answers.", model.name, model.provider.name)?;
    writeln!(out, "Text:         {:?}", probe.text)?;
    writeln!(out, "First token:  {first}")?;
    writeln!(out, "End:          {} ms", Tokens(probe.latency_ms))?;
    writeln!(
        out,
        "Usage:        {} input, {} cache read, {} cache write, {} output (of which {} reasoning); {source}",
        usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning
    )?;
    writeln!(out, "Cost:         {cost}; it isn't in the ledger")?;
    Ok(())
}
