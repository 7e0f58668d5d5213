//! Withholds output that exceeds the granted length.

use domain::{Tokens, TurnEvent};
use providers::estimate;

/// Output that is counted but not passed on, because by our count it exceeds the granted length. It is passed on if the provider's own
/// count proves that it stayed within the grant.
pub(super) struct Overrun {
    /// Our count of all output so far.
    pub counted: Tokens,
    /// Above this nothing is passed on: an eighth and 16 tokens more than granted, because our tokenizer isn't the provider's.
    pass_until: Tokens,
    /// Above this the call is canceled, because the provider ignores its limit (field note 18).
    pub read_until: Tokens,
    pub withheld: Vec<TurnEvent>,
}

impl Overrun {
    pub fn new(granted: Tokens) -> Self {
        let pass_until = Tokens(granted.0 + granted.0 / 8 + 16);
        Self { counted: Tokens(0), pass_until, read_until: pass_until + pass_until, withheld: Vec::new() }
    }

    /// Counts events and withholds them beyond the limit. `text` and `reasoning` are the complete output so far. Pieces counted one by one
    /// add up to more than the whole, so the whole is counted before anything is withheld.
    pub fn filter(&mut self, events: Vec<TurnEvent>, text: &str, reasoning: &str) -> Vec<TurnEvent> {
        let was_within = self.counted <= self.pass_until;
        for event in &events {
            if let TurnEvent::Delta { text } | TurnEvent::Reasoning { text } = event {
                self.counted = self.counted + estimate::text(text);
            }
        }
        if was_within && self.counted > self.pass_until {
            self.counted = estimate::text(text) + estimate::text(reasoning);
        }
        if self.counted <= self.pass_until {
            return events;
        }
        self.withheld.extend(events);
        Vec::new()
    }
}
