//! Rows of the ledger as CSV (RFC 4180, <https://www.rfc-editor.org/rfc/rfc4180>). Cells that a spreadsheet would interpret as a formula are
//! prefixed with an apostrophe (<https://owasp.org/www-community/attacks/CSV_Injection>); numbers stay numbers. Characters that change how the
//! rest of a line is shown are left out (field note 93).

use domain::text::is_name_character;
use store::usage_row::Row;

/// The byte order mark, by which Excel detects UTF-8. Other programs read it as a part of the first column's name.
pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Returns a text as a cell: without control and format characters, and escaped if a spreadsheet would interpret it as a formula.
fn text_cell(text: &str) -> String {
    let text: String = text.chars().filter(|c| is_name_character(*c)).collect();
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// The columns that not every table has.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    /// The users of the rows.
    pub users: bool,
    /// What the calls cost.
    pub cost: bool,
}

/// Returns rows of the ledger as lines, after a line with the names of the columns if `with_head`.
pub(crate) fn lines(rows: &[Row], with_head: bool, columns: Columns) -> anyhow::Result<Vec<u8>> {
    let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if with_head {
        let users: &[&str] = if columns.users { &["email", "subject"] } else { &[] };
        let head = ["created_at", "ai_usage_id", "turn_id", "call_no", "purpose", "model", "status", "usage_source"];
        let numbers = [
            "input_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "cache_write_long_tokens",
            "output_tokens",
            "reasoning_tokens",
            "estimated_tokens",
        ];
        let cost: &[&str] = if columns.cost { &["cost_usd"] } else { &[] };
        let all = head.iter().chain(users).chain(&numbers).chain(cost).chain(&["corrects", "api_key_id", "api_key"]);
        out.write_record(all)?;
    }
    let format = time::format_description::well_known::Rfc3339;
    for row in rows {
        let mut cells = vec![
            row.created_at.format(&format)?,
            row.ai_usage_id.to_string(),
            row.turn_id.to_string(),
            row.call_no.to_string(),
            text_cell(&row.purpose),
            text_cell(&row.model),
            text_cell(&row.status),
            row.usage_source.clone().unwrap_or_default(),
        ];
        if columns.users {
            cells.extend([text_cell(row.email.as_deref().unwrap_or_default()), text_cell(&row.subject)]);
        }
        let numbers = [
            row.input_tokens,
            row.cache_read_tokens,
            row.cache_write_tokens,
            row.cache_write_long_tokens,
            row.output_tokens,
            row.reasoning_tokens,
            row.estimated_tokens,
        ];
        cells.extend(numbers.map(|n| n.to_string()));
        if columns.cost {
            cells.push(row.cost_usd.to_string());
        }
        cells.push(row.corrects.map(|id| id.to_string()).unwrap_or_default());
        cells.push(row.api_key_id.map(|id| id.to_string()).unwrap_or_default());
        cells.push(text_cell(row.api_key.as_deref().unwrap_or_default()));
        out.write_record(cells)?;
    }
    Ok(out.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::text_cell;

    #[test]
    fn cells_are_no_formulas_and_have_no_format_characters() {
        for (text, expected) in [
            ("J\u{fc}rgen's key", "J\u{fc}rgen's key"),
            ("=1+1", "'=1+1"),
            ("\u{202e}=1+1", "'=1+1"),
            ("\t@x\r\n", "'@x"),
            ("a\u{2067}b", "ab"),
        ] {
            assert_eq!(text_cell(text), expected);
        }
    }
}
