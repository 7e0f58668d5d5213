//! One event with its number, as it stands in the log: written once, read by many.

use domain::TurnEvent;
use std::sync::Arc;

/// One event with its number: 1, 2, 3 … within the turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// The SSE event's name.
    pub name: &'static str,
    /// The SSE event's data, JSON on one line.
    pub data: Arc<str>,
    /// Whether nothing follows it.
    pub is_last: bool,
}

impl Entry {
    /// An event as an entry.
    pub(crate) fn new(id: u64, event: &TurnEvent) -> Self {
        let data =
            serde_json::to_value(event).ok().and_then(|mut value| value.get_mut("data").map(serde_json::Value::take));
        Self { id, name: event.name(), data: data.unwrap_or_default().to_string().into(), is_last: event.is_last() }
    }

    /// The event that it holds.
    #[must_use]
    pub fn event(&self) -> Option<TurnEvent> {
        serde_json::from_str(&format!(r#"{{"event":"{}","data":{}}}"#, self.name, self.data)).ok()
    }

    /// As Redis keeps it: the number is part of it, so that what was appended twice or never is seen.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}", self.id, self.name, self.data)
    }

    /// Reads what `line` wrote.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let (id, rest) = line.split_once(' ')?;
        let (name, data) = rest.split_once(' ')?;
        let name = TurnEvent::NAMES.into_iter().find(|known| *known == name)?;
        Some(Self { id: id.parse().ok()?, name, data: data.into(), is_last: TurnEvent::is_last_name(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Problem;

    #[test]
    fn a_line_reads_as_it_was_written() {
        for event in [
            TurnEvent::Delta { text: "Grüße,\n \"世界\" 🦀".into() },
            TurnEvent::Failed { problem: Problem::model_failed() },
        ] {
            let entry = Entry::new(7, &event);
            assert_eq!(Entry::from_line(&entry.line()), Some(entry.clone()));
            assert_eq!((entry.event(), entry.is_last), (Some(event.clone()), event.is_last()));
        }
    }
}
