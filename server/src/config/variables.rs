//! The variables that the configuration is read from, and the errors found in them.

use anyhow::bail;
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The variables, with the errors found in all of them. An empty variable counts as unset, except for [`Variables::is_blank`].
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    /// Name and error of each missing or invalid variable, in the order in which they were found.
    errors: RefCell<Vec<(String, String)>>,
}

impl Variables {
    /// Takes names and values. The last value of a name wins.
    pub(super) fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: values.into_iter().collect(), errors: RefCell::default() }
    }

    /// Returns the names of all variables that are set, in alphabetical order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }

    /// Returns a variable's value.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.values.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// Returns whether a variable is set to an empty value, which turns off a setting that has a default.
    pub(super) fn is_blank(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(String::is_empty)
    }

    /// Returns the trimmed content of the file that `<name>_FILE` names, or the variable's own value if `<name>_FILE` is unset. Reports a
    /// file that can't be read.
    pub(super) fn secret_text(&self, name: &str) -> Option<String> {
        let Some(path) = self.text(&format!("{name}_FILE")) else { return self.text(name) };
        match std::fs::read_to_string(&path) {
            Ok(value) => Some(value.trim().to_owned()).filter(|value| !value.is_empty()),
            Err(error) => {
                let problem = format!("can't read {path:?}: {error}");
                self.report(name, &problem, &format!("{name}_FILE to the path of a readable file"));
                None
            }
        }
    }

    /// Returns the same value as [`Self::secret_text`], as a `SecretString`.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.secret_text(name).map(SecretString::from)
    }

    /// Parses a variable. Returns `None` if it is unset, or if `parse` returns `None`; the latter is reported with a description of the
    /// expected values. The report contains the value, so this is not for secrets.
    pub(super) fn parse<T>(&self, name: &str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.text(name)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.report(name, &format!("{value:?} isn't valid"), expected);
        }
        parsed
    }

    /// Splits a variable at its commas. Returns the trimmed items that aren't empty.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let value = self.text(name).unwrap_or_default();
        value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// Reports a missing or invalid variable: what is wrong, and what to set. Only the first report of a variable is kept.
    pub(super) fn report(&self, name: &str, problem: &str, set: &str) {
        let mut errors = self.errors.borrow_mut();
        if !errors.iter().any(|(reported, _)| reported == name) {
            errors.push((name.to_owned(), format!("{problem}; set {set}")));
        }
    }

    /// Returns an error with one line for each reported variable, if there are any.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let errors = self.errors.into_inner();
        if errors.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = errors.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        bail!("{}", lines.join("\n"))
    }
}
