//! Placeholders such as `{{name}}` in the texts of the site.

use crate::Config;
use anyhow::Context as _;
use domain::brand;

/// A placeholder's name and its value.
pub(super) type Value = (&'static str, String);

/// Returns the values of all placeholders.
pub(super) fn values(config: &Config) -> Vec<Value> {
    // Each line of the address is a line of the page: two spaces before a line break keep it.
    let address = brand::LEGAL_ADDRESS.lines().collect::<Vec<_>>().join("  \n");
    vec![
        ("name", brand::NAME.to_owned()),
        ("url", config.public_url.clone()),
        ("support_email", brand::SUPPORT_EMAIL.to_owned()),
        ("company", brand::LEGAL_COMPANY.to_owned()),
        ("address", address),
        ("representative", brand::LEGAL_REPRESENTATIVE.to_owned()),
        ("register", brand::LEGAL_REGISTER.to_owned()),
        ("vat_id", brand::LEGAL_VAT_ID.to_owned()),
        ("terms_version", brand::TERMS_VERSION.to_owned()),
        ("grace_days", config.billing_grace_days.to_string()),
    ]
}

/// Replaces the placeholders of a text. A line with a value that is empty is left out, so that missing data, such as a VAT number, leaves no
/// gap.
///
/// # Errors
/// Returns an error that names the placeholder if it has no value, or isn't closed on its line.
pub(super) fn fill(text: &str, values: &[Value]) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        filled.push_str(&fill_line(line, values)?);
    }
    Ok(filled)
}

fn fill_line(line: &str, values: &[Value]) -> anyhow::Result<String> {
    let (mut filled, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").with_context(|| format!("a placeholder isn't closed: {line:?}"))?;
        let value = values.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let value = value.with_context(|| format!("there is no placeholder {{{{{name}}}}}"))?;
        if value.is_empty() {
            return Ok(String::new());
        }
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> [Value; 2] {
        [("name", "Acme".to_owned()), ("vat_id", String::new())]
    }

    #[test]
    fn placeholders_are_replaced_and_lines_without_a_value_left_out() {
        let text = "{{name}} by {{name}}.\nVAT: {{vat_id}}\nEnd";
        assert_eq!(fill(text, &example()).unwrap(), "Acme by Acme.\nEnd");
        assert_eq!(fill("{ } {single}", &example()).unwrap(), "{ } {single}");
    }

    #[test]
    fn unknown_and_open_placeholders_are_errors() {
        for (text, part) in [("a {{nmae}}", "{{nmae}}"), ("{{ name }}", "{{ name }}"), ("{{name", "isn't closed")] {
            let error = fill(text, &example()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
