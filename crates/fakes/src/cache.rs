//! Prompt caching as Anthropic does it: a marked prefix is written to the cache, and a later prompt that begins with it reads it.

use crate::format::Format;
use crate::request::Part;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The prefixes that were cached, by model and hash. Nothing expires, and any length is cached.
#[derive(Default)]
pub(crate) struct Cache(HashSet<(String, u64)>);

impl Cache {
    /// Returns the tokens of a prompt that are read from the cache and that are written to it.
    pub fn serve(&mut self, model: &str, prompt: &[Part]) -> (u64, u64) {
        let (mut hasher, mut tokens) = (DefaultHasher::new(), 0);
        let (mut read, mut marked) = (0, 0);
        let mut written = Vec::new();
        for part in prompt {
            part.role.hash(&mut hasher);
            part.text.hash(&mut hasher);
            part.images.iter().for_each(|image| image.data.hash(&mut hasher));
            tokens += part.tokens(Format::Messages, model);
            let prefix = (model.to_owned(), hasher.finish());
            if self.0.contains(&prefix) {
                read = tokens;
            }
            if part.is_marked {
                marked = tokens;
                written.push(prefix);
            }
        }
        // Without a mark at or behind it, a cached prefix isn't looked up.
        let read = read.min(marked);
        self.0.extend(written);
        (read, marked - read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_written_once_and_then_read() {
        let part = |text: &str, is_marked| Part {
            role: "user".to_owned(),
            text: text.to_owned(),
            images: Vec::new(),
            bad_image: None,
            is_marked,
        };
        let mut cache = Cache::default();
        assert_eq!(cache.serve("m", &[part("one two", false)]), (0, 0), "without a mark nothing is cached");
        assert_eq!(cache.serve("m", &[part("one two", true), part("three", true)]), (0, 3));
        assert_eq!(cache.serve("m", &[part("one two", true), part("three", false), part("four five", true)]), (3, 2));
        assert_eq!(cache.serve("m", &[part("one two", true), part("other", true)]), (2, 1));
        assert_eq!(cache.serve("m", &[part("one two", false), part("three", false)]), (0, 0));
        assert_eq!(cache.serve("n", &[part("one two", true)]), (0, 2), "each model has its own cache");
    }
}
