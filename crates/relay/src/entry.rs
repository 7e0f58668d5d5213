//! An entry of the log: one event with its number.

use domain::TurnEvent;
use std::sync::Arc;

/// One event with its number. A turn's events are numbered 1, 2, 3 …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event's number within the turn.
    pub id: u64,
    /// The SSE event's name.
    pub name: &'static str,
    /// The SSE event's data, JSON on one line.
    pub data: Arc<str>,
    /// Whether this is the turn's last event.
    pub is_last: bool,
}

impl Entry {
    /// Creates an entry from an event.
    pub(crate) fn new(id: u64, event: &TurnEvent) -> Self {
        let data =
            serde_json::to_value(event).ok().and_then(|mut value| value.get_mut("data").map(serde_json::Value::take));
        Self { id, name: event.name(), data: data.unwrap_or_default().to_string().into(), is_last: event.is_last() }
    }

    /// Parses the event; `None` if its data is invalid.
    #[must_use]
    pub fn event(&self) -> Option<TurnEvent> {
        serde_json::from_str(&format!(r#"{{"event":"{}","data":{}}}"#, self.name, self.data)).ok()
    }

    /// Formats the entry as stored in Redis. The line contains the number, so that duplicate and missing entries are detected.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}", self.id, self.name, self.data)
    }

    /// Parses a line that `line` formatted.
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
    fn line_round_trips() {
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
