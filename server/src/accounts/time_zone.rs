//! Names of time zones. Distributions remove old names of zones and are slow to add new ones, so Postgres may not have the name that a
//! browser sends (field note 84).

use std::sync::LazyLock;

/// Old and current names of the same zones.
static LINKS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let lines = include_str!("time_zone_links.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).collect()
});

/// Returns whether a text has the form of a time zone's name.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c))
}

/// Returns the names under which Postgres may have a zone: the given one, its current one, and old ones.
pub(crate) fn names(zone: &str) -> Vec<&str> {
    let current = LINKS.iter().find(|(old, _)| *old == zone).map_or(zone, |(_, current)| *current);
    let old = LINKS.iter().filter(|(_, name)| *name == current).map(|(old, _)| *old);
    let mut all = vec![zone];
    all.extend([current].into_iter().chain(old).filter(|name| *name != zone));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field note 84: Postgres images without old names have only `Asia/Kolkata`, and old ones only `Europe/Kiev`.
    #[test]
    fn zones_are_found_by_their_old_and_new_names() {
        assert_eq!(names("Asia/Calcutta")[..2], ["Asia/Calcutta", "Asia/Kolkata"]);
        assert!(names("Europe/Kyiv").contains(&"Europe/Kiev"));
        assert_eq!(names("Europe/Berlin").first(), Some(&"Europe/Berlin"));
        assert_eq!(names("Mars/Base"), ["Mars/Base"]);
        assert!(LINKS.len() > 200 && LINKS.iter().all(|(old, current)| is_name(old) && is_name(current)));
    }

    #[test]
    fn names_have_a_form() {
        for good in ["UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "Europe/Berlin; drop", "Zürich", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
