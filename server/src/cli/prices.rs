//! `prices`: compares prices with a price catalogue, and adds those that were chosen.

use super::models::parse_day;
use super::write_table;
use crate::AppState;
use anyhow::{Context as _, ensure};
use clap::Subcommand;
use domain::catalogue::{self, CatalogueEntry, Difference};
use domain::{MicrosPerMillion, Tokens};
use std::io::Write;
use std::path::PathBuf;
use time::{Date, OffsetDateTime};

/// Subcommands for prices.
#[derive(Subcommand)]
pub enum Prices {
    /// Show where LiteLLM's price catalogue differs from the models here, and add chosen prices and end dates. Nothing is downloaded.
    Import(ImportPrices),
}

/// Arguments of `prices import`.
#[derive(clap::Args)]
pub struct ImportPrices {
    /// The catalogue: LiteLLM's model_prices_and_context_window.json.
    file: PathBuf,
    /// First day (UTC) of the new prices, for example 2026-12-31. Default: they apply now.
    #[arg(long, value_parser = parse_day)]
    from: Option<Date>,
    /// Models whose new prices and end dates are added, separated by commas. Without it and without --all nothing is changed.
    #[arg(long, value_delimiter = ',', conflicts_with = "all")]
    yes: Vec<String>,
    /// Add the new prices and end dates of all models that differ.
    #[arg(long)]
    all: bool,
}

/// Runs a `prices` subcommand.
pub(super) async fn run(command: Prices, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        Prices::Import(import) => run_import(&import, db, out).await,
    }
}

/// Shows all differences, and applies the chosen ones.
async fn run_import(import: &ImportPrices, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    let now = AppState::now();
    let effective_at = effective_at(import.from, now)?;
    let text = tokio::fs::read_to_string(&import.file).await;
    let text = text.with_context(|| format!("can't read {}", import.file.display()))?;
    let entries = catalogue::parse(&text).with_context(|| import.file.display().to_string())?;
    let differences = store::catalogue::differences(db, &entries, effective_at).await?;
    write_missing(db, &entries, now, out).await?;
    if differences.is_empty() {
        writeln!(out, "All prices and end dates match the catalogue. Nothing was changed.")?;
        return Ok(());
    }
    write_table(out, ["MODEL", "TIER", "WHAT", "HERE", "CATALOGUE"], &lines(&differences))?;
    writeln!(out, "Prices are dollars per million tokens.")?;
    for name in &import.yes {
        ensure!(differences.iter().any(|one| one.model.0 == *name), "{name} doesn't differ; nothing was changed");
    }
    let chosen: Vec<Difference> =
        differences.into_iter().filter(|one| import.all || import.yes.contains(&one.model.0)).collect();
    if chosen.is_empty() {
        writeln!(out, "Nothing was changed. Add --yes MODEL,MODEL or --all to apply.")?;
        return Ok(());
    }
    let applied = store::catalogue::apply(db, None, &chosen, effective_at, now).await?;
    writeln!(out, "Prices added: {}. End dates set: {}.", applied.prices, applied.end_dates)?;
    if applied.kept > 0 {
        writeln!(out, "Prices that already start at the same time, and are never edited: {}.", applied.kept)?;
    }
    Ok(())
}

/// Returns when new prices take effect: now, or when a later day begins.
fn effective_at(from: Option<Date>, now: OffsetDateTime) -> anyhow::Result<OffsetDateTime> {
    let Some(day) = from else { return Ok(now) };
    ensure!(day >= now.date(), "--from must not be in the past, because past prices never change");
    Ok(day.midnight().assume_utc().max(now))
}

/// Names the models that the catalogue doesn't list.
async fn write_missing(
    db: &store::Db,
    entries: &[CatalogueEntry],
    now: OffsetDateTime,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let models = store::model_rule::list(db, now).await?.into_iter().map(|row| row.model);
    let missing = models.filter(|model| catalogue::find(entries, &model.provider.name, &model.name).is_none());
    let missing: Vec<String> = missing.map(|model| model.name.0).collect();
    if !missing.is_empty() {
        writeln!(out, "Not in the catalogue: {}.", missing.join(", "))?;
    }
    Ok(())
}

/// Returns one line for each price and end date that differs: model, tier, what it is, the value here and the catalogue's.
fn lines(differences: &[Difference]) -> Vec<[String; 5]> {
    let usd = |price: MicrosPerMillion| format!("${}", price.to_usd());
    let mut lines = Vec::new();
    for Difference { model, prices, ends_at, error } in differences {
        let mut add = |tier: &str, what: &str, old: Option<String>, new: String| {
            let old = old.unwrap_or_else(|| "none".to_owned());
            lines.push([model.0.clone(), tier.to_owned(), what.to_owned(), old, format!("\u{2192} {new}")]);
        };
        for change in prices {
            let above = change.new.above.map(|tokens| format!("above {}", Tokens(tokens)));
            for line in change.lines() {
                add(above.as_deref().unwrap_or("base"), line.what, line.old.map(usd), usd(line.new));
            }
        }
        if let Some(end) = ends_at {
            add("", "end date", end.old.map(|day| day.to_string()), end.new.to_string());
        }
        if let Some(error) = error {
            add("", "not imported", None, error.clone());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ModelName;
    use domain::catalogue::{CatalogueTier, EndChange, PriceChange};
    use time::macros::{date, datetime};

    #[test]
    fn each_price_and_date_that_differs_has_a_line() {
        let tier = |above, input| CatalogueTier {
            above,
            input: MicrosPerMillion(input),
            cache_read: Some(MicrosPerMillion(100_000)),
            cache_write: Some(MicrosPerMillion(1_250_000)),
            cache_write_long: None,
            output: MicrosPerMillion(5_000_000),
        };
        let difference = Difference {
            model: ModelName("m".into()),
            prices: vec![
                PriceChange { old: Some(tier(None, 1_000_000)), new: tier(None, 2_000_000) },
                PriceChange { old: Some(tier(None, 1_000_000)), new: tier(Some(200_000), 3_500_000) },
            ],
            ends_at: Some(EndChange { old: None, new: date!(2026 - 12 - 11) }),
            error: None,
        };
        let expected = [
            ["m", "base", "input", "$1", "\u{2192} $2"],
            ["m", "above 200,000", "input", "$1", "\u{2192} $3.5"],
            ["m", "", "end date", "none", "\u{2192} 2026-12-11"],
        ];
        assert_eq!(lines(&[difference]), expected);
    }

    #[test]
    fn prices_never_start_in_the_past() {
        let now = datetime!(2026-11-27 12:00 UTC);
        assert_eq!(effective_at(None, now).unwrap(), now);
        assert_eq!(effective_at(Some(date!(2026 - 11 - 27)), now).unwrap(), now);
        assert_eq!(effective_at(Some(date!(2026 - 11 - 28)), now).unwrap(), datetime!(2026-11-28 0:00 UTC));
        assert!(effective_at(Some(date!(2026 - 11 - 26)), now).is_err());
    }
}
