//! Names of files.

/// Maximum length of a file's name, in characters.
const MAX_NAME: usize = 120;

/// Returns a file's name without a path, and without characters that could change how it is shown or where it is saved: control characters,
/// those that change the direction of text, and those that mean something to a file system.
#[must_use]
pub fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|c| !is_forbidden(*c)).collect();
    let joined = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    let trimmed = joined.trim_matches(['.', ' ']);
    let short = shortened(trimmed);
    if short.is_empty() { "file".to_owned() } else { short }
}

fn is_forbidden(c: char) -> bool {
    let changes_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && !c.is_whitespace())
        || changes_direction
        || matches!(c, '"' | '<' | '>' | '|' | ':' | '*' | '?' | '`' | '\u{feff}' | '\u{200b}'..='\u{200d}')
}

/// Shortens a name to [`MAX_NAME`] characters. Its extension is kept.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= MAX_NAME {
        return name.to_owned();
    }
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).filter(|ending| ending.chars().count() <= 10);
    let ending = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
    let kept = MAX_NAME - ending.chars().count();
    let head: String = name.chars().take(kept).collect();
    format!("{head}{ending}")
}
