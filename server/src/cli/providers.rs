//! `providers`: the LLM providers, which are the endpoints that serve models.

use super::models::write_test;
use super::write_table;
use crate::Config;
use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use domain::{Provider, ProviderName, WireFormat};
use std::io::Write;
use store::model_rule::ModelSettings;
use store::provider::Removed;

/// Subcommands for providers.
#[derive(Subcommand)]
pub enum Providers {
    /// Add a provider, or change an existing one; options that aren't given stay unchanged.
    Add(Box<AddProvider>),
    /// List providers and whether their API keys are set.
    List,
    /// Remove a provider that no model belongs to.
    Remove {
        /// Name of the provider.
        name: String,
    },
    /// Send one short request to the provider's cheapest model, and show latency, usage and cost. It isn't recorded in the ledger.
    Test {
        /// Name of the provider.
        name: String,
    },
}

/// Arguments of `providers add`: an endpoint and how it is called.
#[derive(clap::Args)]
pub struct AddProvider {
    /// Name of the provider: lower-case letters, digits, dots, hyphens and underscores, for example openrouter.
    name: String,
    /// Wire format of its API: openai (also Ollama, vLLM, OpenRouter and most others) or anthropic. Default: openai.
    #[arg(long)]
    format: Option<WireFormat>,
    /// Base URL of its API, for example http://127.0.0.1:11434/v1. Default: the wire format's own.
    #[arg(long)]
    base_url: Option<String>,
    /// Environment variable that holds its API key; the name must end in _API_KEY. Default: no key is sent.
    #[arg(long)]
    key_variable: Option<String>,
    /// Display name. Default: the provider's name.
    #[arg(long)]
    label: Option<String>,
    /// Maximum milliseconds to connect. Default: PROVIDER_CONNECT_TIMEOUT_MS.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600_000))]
    connect_timeout_ms: Option<u32>,
    /// Maximum milliseconds until its response begins. Default: PROVIDER_FIRST_BYTE_TIMEOUT_MS.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    first_byte_timeout_ms: Option<u32>,
    /// Maximum milliseconds of silence within a response. Default: PROVIDER_IDLE_TIMEOUT_MS.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    idle_timeout_ms: Option<u32>,
    /// Maximum number of calls at once per server. Default: unlimited.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_in_flight: Option<u32>,
}

/// Runs a `providers` subcommand.
pub(super) async fn run(
    command: Providers,
    config: &Config,
    db: &store::Db,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match command {
        Providers::Add(new) => add(db, config, *new, out).await?,
        Providers::List => list(db, config, out).await?,
        Providers::Remove { name } => {
            let name = ProviderName(name);
            match store::provider::remove(db, &name).await? {
                Removed::Yes => writeln!(out, "{name} is removed.")?,
                Removed::NotFound => bail!("there is no provider {name}"),
                Removed::InUse => {
                    bail!("models belong to {name}; remove them, or move them with models add --provider")
                }
            }
        }
        Providers::Test { name } => {
            let name = ProviderName(name);
            ensure!(store::provider::find(db, &name).await?.is_some(), "there is no provider {name}");
            let models = store::model_rule::list(db, crate::AppState::now()).await?;
            let own = models.into_iter().filter(|row| row.model.provider.name == name);
            let order =
                |row: &ModelSettings| (!row.rules.enabled, row.price.is_none(), row.price.map(|price| price.input));
            let cheapest = own.min_by_key(order);
            let cheapest = cheapest.with_context(|| format!("{name} has no models; add one with models add"))?;
            write_test(db, config, &cheapest.model, out).await?;
        }
    }
    Ok(())
}

/// Writes all providers as a table.
async fn list(db: &store::Db, config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    let row = |provider: Provider| {
        let key = provider.key_variable.map_or_else(
            || "none".to_owned(),
            |name| format!("{name} {}", if config.has_key(&name) { "is set" } else { "is missing" }),
        );
        [
            provider.name.0,
            provider.wire_format.as_str().to_owned(),
            provider.base_url.unwrap_or_else(|| "default".to_owned()),
            key,
            provider.max_in_flight.map_or_else(|| "unlimited".to_owned(), |calls| calls.to_string()),
        ]
    };
    let rows: Vec<_> = store::provider::list(db).await?.into_iter().map(row).collect();
    write_table(out, ["PROVIDER", "FORMAT", "BASE URL", "KEY", "CALLS AT ONCE"], &rows)
}

/// Checks and saves a provider, and reports what is missing for its first call.
async fn add(db: &store::Db, config: &Config, new: AddProvider, out: &mut impl Write) -> anyhow::Result<()> {
    check(&new)?;
    let name = ProviderName(new.name);
    let known = store::provider::find(db, &name).await?;
    let provider = match known {
        Some(known) => Provider {
            label: new.label.unwrap_or(known.label),
            wire_format: new.format.unwrap_or(known.wire_format),
            base_url: new.base_url.or(known.base_url),
            key_variable: new.key_variable.or(known.key_variable),
            connect_timeout_ms: new.connect_timeout_ms.or(known.connect_timeout_ms),
            first_byte_timeout_ms: new.first_byte_timeout_ms.or(known.first_byte_timeout_ms),
            idle_timeout_ms: new.idle_timeout_ms.or(known.idle_timeout_ms),
            max_in_flight: new.max_in_flight.or(known.max_in_flight),
            name,
        },
        None => Provider {
            label: new.label.unwrap_or_else(|| name.0.clone()),
            wire_format: new.format.unwrap_or(WireFormat::OpenAi),
            base_url: new.base_url,
            key_variable: new.key_variable,
            connect_timeout_ms: new.connect_timeout_ms,
            first_byte_timeout_ms: new.first_byte_timeout_ms,
            idle_timeout_ms: new.idle_timeout_ms,
            max_in_flight: new.max_in_flight,
            name,
        },
    };
    store::provider::save(db, &provider).await?;
    writeln!(out, "{} is saved. Add its models with models add --provider {}.", provider.name, provider.name)?;
    match &provider.key_variable {
        Some(variable) if !config.has_key(variable) => {
            writeln!(out, "Set {variable} in the server's environment; until then its models are unavailable.")?;
        }
        None if provider.base_url.is_none() => {
            writeln!(out, "It has neither a key nor a base URL; until it has one, its models are unavailable.")?;
        }
        _ => {}
    }
    Ok(())
}

/// Checks the constraints of the database first, with messages that say what to enter.
fn check(new: &AddProvider) -> anyhow::Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (name, mut rest) = (new.name.as_bytes(), new.name.bytes().skip(1));
    ensure!(
        name.len() <= 40
            && name.first().copied().is_some_and(is_plain)
            && rest.all(|byte| is_plain(byte) || b"._-".contains(&byte)),
        "the name must be at most 40 lower-case letters, digits, dots, hyphens and underscores, and begin with a letter or digit"
    );
    ensure!(new.format != Some(WireFormat::Demo), "--format must be openai or anthropic");
    if let Some(url) = &new.base_url {
        ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "--base-url must begin with http:// or https://"
        );
    }
    if let Some(variable) = &new.key_variable {
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        ensure!(
            variable.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase())
                && variable.bytes().all(is_name)
                && variable.strip_suffix("_API_KEY").is_some_and(|prefix| (1..=61).contains(&prefix.len())),
            "--key-variable must be the name of a variable, not the key, in capital letters and ending in _API_KEY"
        );
    }
    if let Some(label) = &new.label {
        ensure!((1..=80).contains(&label.chars().count()), "--label must have 1 to 80 characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn values_that_the_database_would_refuse_are_reported() {
        let accepts = |words: &[&str]| {
            let words = ["quotient", "providers", "add"].into_iter().chain(words.iter().copied());
            match crate::cli::Cli::try_parse_from(words).map(|cli| cli.command) {
                Ok(Some(crate::cli::Command::Providers(Providers::Add(new)))) => check(&new).is_ok(),
                _ => false,
            }
        };
        assert!(accepts(&[
            "openrouter",
            "--base-url",
            "https://openrouter.ai/api/v1",
            "--key-variable",
            "OPENROUTER_API_KEY"
        ]));
        assert!(accepts(&["a.b_c-1", "--format", "anthropic", "--max-in-flight", "4", "--idle-timeout-ms", "300000"]));
        for bad in [
            &["Open"] as &[&str],
            &[""],
            &["-x"],
            &["a b"],
            &["x", "--format", "demo"],
            &["x", "--format", "grpc"],
            &["x", "--base-url", "ftp://x"],
            &["x", "--key-variable", "sk-123"],
            &["x", "--key-variable", "SECRET_KEY"],
            &["x", "--key-variable", "_API_KEY"],
            &["x", "--max-in-flight", "0"],
            &["x", "--connect-timeout-ms", "600001"],
        ] {
            assert!(!accepts(bad), "{bad:?}");
        }
    }
}
