//! The price catalogue that LiteLLM publishes as JSON (<https://github.com/BerriAI/litellm>, `model_prices_and_context_window.json`), and
//! how it differs from the prices here.
//!
//! The catalogue lists dollars per token, often in scientific notation. Prices are read exactly and never pass through a float.

mod difference;

pub use difference::{Difference, EndChange, PriceChange, PriceLine, compare};

use crate::{MicrosPerMillion, ModelName, ProviderName, Tokens};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use time::Date;

/// The first entry of the catalogue, which documents the fields.
const SAMPLE: &str = "sample_spec";
/// Fields of the longer cache lifetime: of Anthropic, and of OpenAI.
const LONG_WRITES: [&str; 2] =
    ["cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_cost_above_12hr"];

/// A model of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The model's name, alone or as `provider/name`.
    pub name: String,
    /// The price tiers, the base tier first. Empty if a price can't be represented; `error` says which.
    pub tiers: Vec<CatalogueTier>,
    /// Maximum input tokens.
    pub context: Option<Tokens>,
    /// Maximum output tokens.
    pub max_output: Option<Tokens>,
    /// The day on which the provider switches the model off.
    pub ends_at: Option<Date>,
    /// The price that isn't a whole number of micro-dollars per million tokens.
    pub error: Option<CatalogueError>,
}

/// The prices of one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueTier {
    /// Applies to prompts with more tokens than this; `None` is the base tier.
    pub above: Option<u64>,
    /// Price of uncached input.
    pub input: MicrosPerMillion,
    /// Price of input read from a cache; `None` if unknown, and then `input` applies.
    pub cache_read: Option<MicrosPerMillion>,
    /// Price of input written to a cache; `None` if unknown, and then `input` applies.
    pub cache_write: Option<MicrosPerMillion>,
    /// Price of input written to a cache with the longer lifetime; `None` if unknown, and then `cache_write` applies.
    pub cache_write_long: Option<MicrosPerMillion>,
    /// Price of output.
    pub output: MicrosPerMillion,
}

/// Why a catalogue or one of its prices can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The text isn't JSON, or not an object.
    #[error("not a price catalogue: {0}")]
    NotACatalogue(String),
    /// A price can't be represented exactly.
    #[error("{field} is {text}, which isn't a whole number of micro-dollars per million tokens")]
    Price {
        /// The field's name.
        field: String,
        /// The price as written in the catalogue.
        text: String,
    },
}

/// The fields of an entry as written in the text.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Parses a catalogue, sorted by name. Entries without prices per input and output token, such as image models, are left out, and so is the
/// sample entry. An entry whose price can't be represented is kept with its error.
///
/// # Errors
/// Returns an error if the text isn't a JSON object.
pub fn parse(text: &str) -> Result<Vec<CatalogueEntry>, CatalogueError> {
    let entries: BTreeMap<String, &RawValue> = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| CatalogueError::NotACatalogue(error.to_string()))?;
    let entries = entries.into_iter().filter(|(name, _)| name != SAMPLE);
    Ok(entries.filter_map(|(name, entry)| read_entry(name, entry.get())).collect())
}

/// Finds a model's entry: `provider/name` if the catalogue has it, otherwise `name`.
#[must_use]
pub fn find<'a>(
    entries: &'a [CatalogueEntry],
    provider: &ProviderName,
    model: &ModelName,
) -> Option<&'a CatalogueEntry> {
    let qualified = format!("{provider}/{model}");
    [&qualified, &model.0].into_iter().find_map(|name| entries.iter().find(|entry| entry.name == *name))
}

/// Reads one entry. Returns `None` if it isn't an object or has no prices per token.
fn read_entry(name: String, text: &str) -> Option<CatalogueEntry> {
    let fields: Fields<'_> = serde_json::from_str(text).ok()?;
    let (tiers, error) = match read_tiers(&fields) {
        Ok(tiers) if tiers.is_empty() => return None,
        Ok(tiers) => (tiers, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let tokens = |field| unquoted(&fields, field).and_then(|text| text.parse().ok()).map(Tokens);
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Some(CatalogueEntry {
        context: tokens("max_input_tokens"),
        max_output: tokens("max_output_tokens"),
        ends_at: unquoted(&fields, "deprecation_date").and_then(|text| Date::parse(text, format).ok()),
        name,
        tiers,
        error,
    })
}

/// Returns a field's text without the quotes of a JSON string; `None` if it is absent or null.
fn unquoted<'a>(fields: &Fields<'a>, field: &str) -> Option<&'a str> {
    fields.get(field).map(|value| value.get().trim_matches('"')).filter(|text| *text != "null")
}

/// Reads the base tier and those for long prompts, such as `input_cost_per_token_above_200k_tokens`.
fn read_tiers(fields: &Fields<'_>) -> Result<Vec<CatalogueTier>, CatalogueError> {
    let Some(base) = read_tier(fields, None)? else { return Ok(Vec::new()) };
    let thousands = fields.keys().filter_map(|field| {
        let tier = field.strip_prefix("input_cost_per_token").or_else(|| field.strip_prefix("output_cost_per_token"));
        tier?.strip_prefix("_above_")?.strip_suffix("k_tokens")?.parse().ok()
    });
    let mut thousands: Vec<u64> = thousands.collect();
    thousands.sort_unstable();
    thousands.dedup();
    let mut tiers = vec![base];
    for thousands in thousands {
        tiers.extend(read_tier(fields, Some((thousands, &base)))?);
    }
    Ok(tiers)
}

/// Reads the base tier, or one for prompts above a number of thousand tokens, which has the base tier's price where it names none. Returns
/// `None` if a base tier has no input or output price.
fn read_tier(
    fields: &Fields<'_>,
    above: Option<(u64, &CatalogueTier)>,
) -> Result<Option<CatalogueTier>, CatalogueError> {
    let suffix = above.map(|(thousands, _)| format!("_above_{thousands}k_tokens")).unwrap_or_default();
    let base = above.map(|(_, base)| *base);
    let price = |field: &str| read_price(fields, &format!("{field}{suffix}"));
    let input = price("input_cost_per_token")?.or(base.map(|base| base.input));
    let output = price("output_cost_per_token")?.or(base.map(|base| base.output));
    let cache_read = price("cache_read_input_token_cost")?.or(base.and_then(|base| base.cache_read));
    let cache_write = price("cache_creation_input_token_cost")?.or(base.and_then(|base| base.cache_write));
    let mut cache_write_long = None;
    for field in LONG_WRITES {
        cache_write_long = cache_write_long.or(price(field)?);
    }
    let cache_write_long = cache_write_long.or(base.and_then(|base| base.cache_write_long));
    let above = above.map(|(thousands, _)| thousands.saturating_mul(1_000));
    Ok(input.zip(output).map(|(input, output)| CatalogueTier {
        above,
        input,
        cache_read,
        cache_write,
        cache_write_long,
        output,
    }))
}

/// Reads a price; `None` if the field is absent or null.
fn read_price(fields: &Fields<'_>, field: &str) -> Result<Option<MicrosPerMillion>, CatalogueError> {
    let Some(text) = unquoted(fields, field) else { return Ok(None) };
    let error = || CatalogueError::Price { field: field.to_owned(), text: text.to_owned() };
    per_million(text).map(Some).ok_or_else(error)
}

/// Converts dollars per token, such as `1.25e-07`, to micro-dollars per million tokens: a factor of 10¹². Returns `None` if the text isn't a
/// number, is negative, isn't a whole number of micro-dollars, or is out of range.
fn per_million(text: &str) -> Option<MicrosPerMillion> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(MicrosPerMillion(0));
    }
    let (zeros, decimals) = (digits.len() - significant.len(), fraction.len());
    let power = i64::from(exponent) + 12 + i64::try_from(zeros).ok()? - i64::try_from(decimals).ok()?;
    let factor = 10_i64.checked_pow(u32::try_from(power).ok()?)?;
    significant.parse::<i64>().ok()?.checked_mul(factor).map(MicrosPerMillion)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::date;

    const CATALOGUE: &str = r#"{
        "sample_spec": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "max_input_tokens": "a sentence"},
        "gpt-6-luna": {
            "input_cost_per_token": 1e-07, "output_cost_per_token": 5e-07, "cache_read_input_token_cost": 1e-08,
            "cache_creation_input_token_cost": 1.25e-07, "cache_creation_input_token_cost_above_12hr": 2.5e-07,
            "input_cost_per_token_above_272k_tokens": 2e-07, "output_cost_per_token_above_272k_tokens": 7.5e-07,
            "cache_creation_input_token_cost_above_12hr_above_272k_tokens": 5e-07,
            "input_cost_per_token_above_272k_tokens_priority": 4e-07, "input_cost_per_token_batches": 5e-08,
            "max_input_tokens": 922000, "max_output_tokens": 128000, "litellm_provider": "openai"
        },
        "openrouter/gpt-6-luna": {"input_cost_per_token": 0.0000002, "output_cost_per_token": 6E-7, "deprecation_date": "2026-12-11"},
        "long": {
            "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_creation_input_token_cost_above_1hr": 6e-06,
            "input_cost_per_token_above_200k_tokens": 6e-06, "cache_read_input_token_cost": null, "max_output_tokens": null
        },
        "uneven": {"input_cost_per_token": 1.0000000000000001e-07, "output_cost_per_token": 5e-07},
        "image": {"output_cost_per_image": 0.04, "mode": "image_generation"},
        "text": "not an object"
    }"#;

    fn price(micros: i64) -> MicrosPerMillion {
        MicrosPerMillion(micros)
    }

    fn entry(name: &str) -> CatalogueEntry {
        parse(CATALOGUE).unwrap().into_iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn catalogue_is_read_with_its_tiers_limits_and_dates() {
        let names: Vec<String> = parse(CATALOGUE).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["gpt-6-luna", "long", "openrouter/gpt-6-luna", "uneven"]);
        let luna = entry("gpt-6-luna");
        let base = CatalogueTier {
            above: None,
            input: price(100_000),
            cache_read: Some(price(10_000)),
            cache_write: Some(price(125_000)),
            cache_write_long: Some(price(250_000)),
            output: price(500_000),
        };
        // The tier's cache read and cache write aren't listed: those of the base tier apply.
        let above = CatalogueTier {
            above: Some(272_000),
            input: price(200_000),
            cache_write_long: Some(price(500_000)),
            output: price(750_000),
            ..base
        };
        assert_eq!(luna.tiers, [base, above]);
        assert_eq!((luna.context, luna.max_output), (Some(Tokens(922_000)), Some(Tokens(128_000))));
        let long = entry("long");
        assert_eq!(long.tiers[1].above, Some(200_000));
        assert_eq!((long.tiers[1].input, long.tiers[1].output), (price(6_000_000), price(15_000_000)));
        assert_eq!(long.tiers[0].cache_write_long, Some(price(6_000_000)));
        assert_eq!((long.tiers[0].cache_read, long.context, long.max_output), (None, None, None));
        assert_eq!(entry("openrouter/gpt-6-luna").ends_at, Some(date!(2026 - 12 - 11)));
        assert_eq!(entry("openrouter/gpt-6-luna").tiers[0].output, price(600_000));
    }

    #[test]
    fn price_that_is_no_whole_number_is_an_error_of_its_entry() {
        let uneven = entry("uneven");
        assert!(uneven.tiers.is_empty());
        let error = CatalogueError::Price {
            field: "input_cost_per_token".to_owned(),
            text: "1.0000000000000001e-07".to_owned(),
        };
        assert_eq!(uneven.error, Some(error));
        for text in ["", "[]", "{\"a\": ", "\"text\""] {
            assert!(matches!(parse(text), Err(CatalogueError::NotACatalogue(_))), "{text}");
        }
    }

    #[test]
    fn decimals_are_read_exactly() {
        for (text, micros) in [
            ("7.5e-08", 75_000),
            ("1.25e-07", 125_000),
            ("0.00000125", 1_250_000),
            ("3E-6", 3_000_000),
            ("1e-12", 1),
            ("10.0e-13", 1),
            ("0", 0),
            ("0.0", 0),
            ("0e-30", 0),
            ("1e+0", 1_000_000_000_000),
            ("000.000003", 3_000_000),
        ] {
            assert_eq!(per_million(text), Some(price(micros)), "{text}");
        }
        let bad =
            ["", ".", "-1e-06", "1e-13", "1.5e-12", "1e99", "1e-6.5", "1e", "NaN", "one", "1e999999999999", "1.2.3"];
        for text in bad {
            assert_eq!(per_million(text), None, "{text}");
        }
    }

    #[test]
    fn entry_with_the_provider_goes_before_the_one_without() {
        let entries = parse(CATALOGUE).unwrap();
        let found = |provider: &str, model: &str| {
            let (provider, model) = (ProviderName(provider.to_owned()), ModelName(model.to_owned()));
            find(&entries, &provider, &model).map(|entry| entry.name.as_str())
        };
        assert_eq!(found("openrouter", "gpt-6-luna"), Some("openrouter/gpt-6-luna"));
        assert_eq!(found("openai", "gpt-6-luna"), Some("gpt-6-luna"));
        assert_eq!(found("openai", "gpt-6"), None);
    }

    proptest! {
        /// The same number in every notation is the same price, or none if it isn't a whole number of micro-dollars.
        #[test]
        fn notation_never_changes_a_price(digits in 0_u64..1_000_000_000, exponent in -20_i32..-6, point in 0_usize..12) {
            // `digits` × 10^exponent dollars per token, with the decimal point moved left by `point`.
            let padded = format!("{digits:0>width$}", width = point + 1);
            let (whole, fraction) = padded.split_at(padded.len() - point);
            let shifted = exponent + i32::try_from(point).unwrap();
            let plain = format!("0.{}{digits}", "0".repeat(usize::try_from(-exponent).unwrap()));
            let plain_exponent = i32::try_from(digits.to_string().len()).unwrap();
            let micros = i128::from(digits) * 10_i128.pow(u32::try_from(exponent + 20).unwrap());
            let whole_micros = (micros % 100_000_000 == 0).then(|| i64::try_from(micros / 100_000_000).unwrap());
            let expected = whole_micros.map(MicrosPerMillion);
            prop_assert_eq!(per_million(&format!("{digits}e{exponent}")), expected);
            prop_assert_eq!(per_million(&format!("{whole}.{fraction}E{shifted}")), expected);
            prop_assert_eq!(per_million(&format!("{plain}e{plain_exponent:+}")), expected);
        }

        /// Text that isn't a number is rejected without a panic.
        #[test]
        fn any_text_is_read_or_rejected(text in "[-+0-9.eE]{0,24}") {
            let _ = per_million(&text);
        }
    }
}
