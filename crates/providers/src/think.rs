//! Separates reasoning that a model writes into its text: `<think>…</think>` at the beginning of a response.

use crate::Chunk;

const OPENING: [&str; 3] = ["<think>", "<thinking>", "<thought>"];
const CLOSING: [&str; 3] = ["</think>", "</thinking>", "</thought>"];
/// Whitespace that is held back at the beginning because a tag may follow, in bytes.
const HELD_WHITESPACE: usize = 16;

/// Splits text that arrives in pieces. It holds back at most what may be the beginning of a tag.
#[derive(Default)]
pub(crate) struct Splitter {
    held: String,
    state: State,
    /// Whether the text so far ends with a backtick, so that a tag after it is quoted.
    is_quoted: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing but whitespace was read.
    #[default]
    Start,
    /// After an opening tag: whitespace is dropped.
    ReasoningStart,
    /// Within reasoning.
    Reasoning,
    /// After reasoning: whitespace is dropped, and more reasoning may follow.
    After,
    /// Within text that began without a tag. A closing tag in it belongs to an opening tag that the server dropped.
    Text,
    /// Within text whose tags are text.
    Plain,
}

impl Splitter {
    /// Splits the next piece of text.
    pub fn push(&mut self, text: &str) -> Vec<Chunk> {
        self.held.push_str(text);
        let mut out = Vec::new();
        while self.step(&mut out) {}
        out
    }

    /// Returns the text that is held back, at the end of the response.
    pub fn finish(&mut self) -> Option<Chunk> {
        let held = std::mem::take(&mut self.held);
        match self.state {
            _ if held.is_empty() => None,
            State::ReasoningStart | State::Reasoning => Some(Chunk::Reasoning(held)),
            State::Start | State::After | State::Text | State::Plain => Some(Chunk::Text(held)),
        }
    }

    /// Reads the held text as far as its meaning is certain. Returns whether the state changed, so that more of it may be read.
    fn step(&mut self, out: &mut Vec<Chunk>) -> bool {
        match self.state {
            State::Start | State::After => self.begin(),
            State::ReasoningStart => {
                self.held = self.held.trim_start().to_owned();
                self.go_if(!self.held.is_empty(), State::Reasoning)
            }
            State::Reasoning => match first(&self.held, &CLOSING) {
                Some((at, length)) => {
                    self.emit(at, Chunk::Reasoning, out);
                    self.held.drain(..length);
                    self.go_if(true, State::After)
                }
                None => {
                    self.emit(self.held.len() - partial(&self.held, &CLOSING), Chunk::Reasoning, out);
                    false
                }
            },
            State::Text => self.watch(out),
            State::Plain => {
                self.emit(self.held.len(), Chunk::Text, out);
                false
            }
        }
    }

    /// Searches for a tag at the beginning of the held text.
    fn begin(&mut self) -> bool {
        let text = self.held.trim_start();
        if self.state == State::Start && self.held.len() - text.len() > HELD_WHITESPACE {
            return self.go_if(true, State::Text);
        }
        let starts_with = |tags: &[&'static str]| tags.iter().find(|tag| text.starts_with(**tag)).map(|tag| tag.len());
        // A closing tag before any text closes reasoning that was streamed apart, or not at all.
        let tag = starts_with(&OPENING).map(|length| (length, State::ReasoningStart));
        if let Some((length, next)) = tag.or_else(|| starts_with(&CLOSING).map(|length| (length, State::After))) {
            self.held = text[length..].to_owned();
            return self.go_if(true, next);
        }
        // An empty text may be followed by any tag.
        let may_follow = OPENING.iter().chain(&CLOSING).any(|tag| tag.starts_with(text));
        if self.state == State::After {
            self.held = text.to_owned();
        }
        self.go_if(!may_follow, State::Text)
    }

    /// Looks for a tag within text.
    fn watch(&mut self, out: &mut Vec<Chunk>) -> bool {
        let (opening, closing) = (first(&self.held, &OPENING), first(&self.held, &CLOSING));
        match closing {
            None if opening.is_none() => {
                let held = partial(&self.held, &OPENING).max(partial(&self.held, &CLOSING));
                self.emit(self.held.len() - held, Chunk::Text, out);
                false
            }
            Some((at, length)) if opening.is_none_or(|(other, _)| at < other) => {
                self.emit(at, Chunk::Text, out);
                if !self.is_quoted {
                    self.held.drain(..length);
                }
                self.go_if(true, State::Plain)
            }
            // An opening tag within text: the text is about tags.
            _ => self.go_if(true, State::Plain),
        }
    }

    fn go_if(&mut self, condition: bool, next: State) -> bool {
        if condition {
            self.state = next;
        }
        condition
    }

    /// Emits the first bytes of the held text.
    fn emit(&mut self, length: usize, kind: fn(String) -> Chunk, out: &mut Vec<Chunk>) {
        if length > 0 {
            let rest = self.held.split_off(length);
            let text = std::mem::replace(&mut self.held, rest);
            self.is_quoted = text.ends_with('`');
            out.push(kind(text));
        }
    }
}

/// Returns the position and the length of the first tag in a text.
fn first(text: &str, tags: &[&str]) -> Option<(usize, usize)> {
    tags.iter().filter_map(|tag| Some((text.find(*tag)?, tag.len()))).min()
}

/// Returns the length of the longest end of a text that may be the beginning of a tag.
fn partial(text: &str, tags: &[&str]) -> usize {
    let lengths = tags.iter().flat_map(|tag| (1..tag.len()).filter(move |length| text.ends_with(&tag[..*length])));
    lengths.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Splits pieces and returns the reasoning and the text.
    fn split<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let (mut splitter, mut reasoning, mut text) = (Splitter::default(), String::new(), String::new());
        let mut chunks = Vec::new();
        for piece in pieces {
            chunks.extend(splitter.push(piece));
            assert!(splitter.held.len() <= HELD_WHITESPACE + "</thinking>".len(), "{:?} is held", splitter.held);
        }
        chunks.extend(splitter.finish());
        for chunk in chunks {
            match chunk {
                Chunk::Reasoning(part) => reasoning.push_str(&part),
                Chunk::Text(part) => text.push_str(&part),
                other => panic!("{other:?}"),
            }
        }
        (reasoning, text)
    }

    /// Field note 56: tags at the beginning are reasoning, split over any pieces; elsewhere they are text.
    #[test]
    fn reasoning_in_text_is_separated() {
        for (whole, reasoning, text) in [
            ("<think>\n**First**, add.\n</think>\n\nIt is **4**.", "**First**, add.\n", "It is **4**."),
            (" \n<thinking>a</thinking>b", "a", "b"),
            ("<think>\n\n</think>\n\n<think>a</think>b", "a", "b"),
            ("<think>never closed", "never closed", ""),
            ("<think>a</thi", "a</thi", ""),
            ("thought aloud\n</think>\n\n4", "", "thought aloud\n\n\n4"),
            ("\n</think>\n4", "", "4"),
            ("Write `</think>` to end it.", "", "Write `</think>` to end it."),
            ("Use <think>a</think> for it.", "", "Use <think>a</think> for it."),
            ("1 < 2 <thin air", "", "1 < 2 <thin air"),
            ("    indented", "", "    indented"),
            ("\n\n", "", "\n\n"),
        ] {
            let expected = (reasoning.to_owned(), text.to_owned());
            assert_eq!(split([whole]), expected, "{whole:?}");
            let characters: Vec<String> = whole.chars().map(String::from).collect();
            assert_eq!(split(characters.iter().map(String::as_str)), expected, "{whole:?} by characters");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("<think>"), Just("</think>"), Just("<thinking>"), Just("</thought>"), Just("<"), Just("</thi"), Just("`"),
                    Just("\n "), Just("ü"), Just("word "),
                ],
                0..12,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let whole = parts.concat();
            let mut positions: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            positions.retain(|position| whole.is_char_boundary(*position));
            positions.extend([0, whole.len()]);
            positions.sort_unstable();
            let pieces = positions.windows(2).map(|pair| &whole[pair[0]..pair[1]]);
            prop_assert_eq!(split(pieces), split([whole.as_str()]));
        }
    }
}
