//! Colors code: the scopes of Sublime Text's grammars, mapped to a few classes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_ulong;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};

static GRAMMARS: LazyLock<SyntaxSet> = LazyLock::new(|| {
    limit_backtracking();
    two_face::syntax::extra_newlines()
});

/// How often Oniguruma may backtrack while it tries one expression at one position of a line. Above that the search ends, as if the expression
/// matched nowhere in the rest of the line.
/// Expressions of Markdown, Python, C# and others need time that grows exponentially with a line made for it.
const MAX_BACKTRACKS: c_ulong = 2_000;

/// Limits backtracking in all searches of the process. Only the grammars search with Oniguruma.
#[expect(unsafe_code, reason = "neither syntect nor onig offers a safe function for it")]
fn limit_backtracking() {
    // SAFETY: the function only assigns a static integer, which searches read. `GRAMMARS` calls it once, before the first search.
    unsafe { onig_sys::onig_set_retry_limit_in_match(MAX_BACKTRACKS) };
}

/// Classes by scope; the first that matches counts. `None` leaves the class to the enclosing scope.
static CLASSES: LazyLock<Vec<(Scope, Option<&'static str>)>> = LazyLock::new(|| {
    let classes = [
        ("comment", "c"),
        ("punctuation.definition.comment", ""),
        ("string", "s"),
        ("constant.character", "s"),
        ("constant", "n"),
        ("support.constant", "n"),
        ("keyword.operator.word", "k"),
        ("keyword.operator", "o"),
        ("keyword", "k"),
        ("storage", "k"),
        ("variable.language", "k"),
        ("entity.name.function", "f"),
        ("variable.function", "f"),
        ("support.function", "f"),
        ("entity.name.tag", "m"),
        ("entity.other.attribute-name", "m"),
        ("entity.name.section", "m"),
        ("entity.name", "t"),
        ("entity.other.inherited-class", "t"),
        ("support.type.property-name", "v"),
        ("support.type", "t"),
        ("support.class", "t"),
        ("support", "f"),
        ("variable", "v"),
        ("markup.inserted", "d"),
        ("markup.deleted", "x"),
        ("markup", "m"),
    ];
    let scope = |(name, class): (&str, &'static str)| {
        Scope::new(name).ok().map(|scope| (scope, Some(class).filter(|class| !class.is_empty())))
    };
    classes.into_iter().filter_map(scope).collect()
});

/// Names of languages for which there is no grammar of that name, with the grammar to use.
const ALIASES: [(&str, &str); 37] = [
    ("bash", "sh"),
    ("console", "sh"),
    ("cpp", "c++"),
    ("csharp", "cs"),
    ("c#", "cs"),
    ("docker", "dockerfile"),
    ("elisp", "el"),
    ("f#", "fs"),
    ("fsharp", "fs"),
    ("golang", "go"),
    ("gql", "graphql"),
    ("hcl", "tf"),
    ("javascript", "js"),
    ("json5", "json"),
    ("jsonc", "json"),
    ("jsonl", "json"),
    ("jsx", "js"),
    ("make", "makefile"),
    ("mjs", "js"),
    ("mysql", "sql"),
    ("node", "js"),
    ("objc", "m"),
    ("objective-c", "m"),
    ("patch", "diff"),
    ("pgsql", "sql"),
    ("plpgsql", "sql"),
    ("postgres", "sql"),
    ("postgresql", "sql"),
    ("powershell", "ps1"),
    ("py3", "py"),
    ("python3", "py"),
    ("shell", "sh"),
    ("sqlite", "sql"),
    ("terraform", "tf"),
    ("udiff", "diff"),
    ("viml", "vim"),
    ("zsh", "sh"),
];

fn grammar(language: &str) -> Option<&'static SyntaxReference> {
    let language = language.to_ascii_lowercase();
    if matches!(language.as_str(), "" | "text" | "txt" | "plain" | "plaintext") || language.len() > 40 {
        return None;
    }
    let alias = ALIASES.iter().find(|(name, _)| *name == language).map(|(_, token)| *token);
    alias.and_then(|token| GRAMMARS.find_syntax_by_token(token)).or_else(|| GRAMMARS.find_syntax_by_token(&language))
}

/// A stretch of a line, and its class.
pub(crate) type Run = (Range<usize>, Option<&'static str>);

/// A code block that is highlighted line by line.
///
/// The state of a grammar contains pointers of Oniguruma and can't move to another thread, but a stream does. So each thread that highlights a
/// block has a state of its own, which first parses the lines that were highlighted by others: no thread parses a line twice.
pub(crate) struct Highlighter {
    id: u64,
    grammar: &'static SyntaxReference,
    /// The lines that were highlighted, by any thread.
    lines: String,
    /// Shows the threads that the block still exists.
    exists: Arc<()>,
}

thread_local! {
    /// The states of this thread, by the id of their block.
    static STATES: RefCell<HashMap<u64, State>> = RefCell::default();
}

/// The state of a grammar between lines, in one thread.
#[derive(Clone)]
struct State {
    parser: ParseState,
    scopes: ScopeStack,
    /// Bytes of the block's lines that were parsed.
    len: usize,
    block: Weak<()>,
}

impl Highlighter {
    /// Returns the state at the first line of code; `None` if the language is unknown.
    pub fn new(language: &str) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let grammar = grammar(language)?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Some(Self { id, grammar, lines: String::new(), exists: Arc::default() })
    }

    /// Returns the classes of the next line, which ends with a line break; `None` if the grammar fails.
    pub fn line(&mut self, line: &str) -> Option<Vec<Run>> {
        let runs = self.with_state(|state| state.line(line))?;
        self.lines.push_str(line);
        Some(runs)
    }

    /// Returns the classes that a line would have, which ends with a line break, without adding it.
    pub fn preview(&self, line: &str) -> Option<Vec<Run>> {
        self.with_state(|state| state.clone().line(line))
    }

    /// Calls `work` with this thread's state after the lines so far.
    fn with_state<T>(&self, work: impl FnOnce(&mut State) -> Option<T>) -> Option<T> {
        STATES.with_borrow_mut(|states| {
            if !states.contains_key(&self.id) {
                states.retain(|_, state| state.block.strong_count() > 0);
            }
            let state = states.entry(self.id).or_insert_with(|| State::new(self.grammar, Arc::downgrade(&self.exists)));
            for line in self.lines[state.len..].split_inclusive('\n') {
                state.line(line)?;
            }
            work(state)
        })
    }
}

impl Drop for Highlighter {
    /// Removes this thread's state. Other threads remove theirs before they add another.
    fn drop(&mut self) {
        let _ = STATES.try_with(|states| states.borrow_mut().remove(&self.id));
    }
}

impl State {
    fn new(grammar: &SyntaxReference, block: Weak<()>) -> Self {
        Self { parser: ParseState::new(grammar), scopes: ScopeStack::new(), len: 0, block }
    }

    fn line(&mut self, line: &str) -> Option<Vec<Run>> {
        let changes = self.parser.parse_line(line, &GRAMMARS).ok()?;
        self.len += line.len();
        let (mut runs, mut at) = (Vec::<Run>::new(), 0);
        let mut push = |range: Range<usize>, class| match runs.last_mut() {
            _ if range.is_empty() => {}
            Some((last, known)) if *known == class => last.end = range.end,
            _ => runs.push((range, class)),
        };
        for (index, change) in changes {
            if index > at {
                push(at..index, class_of(self.scopes.as_slice()));
                at = index;
            }
            self.scopes.apply(&change).ok()?;
        }
        push(at..line.len(), class_of(self.scopes.as_slice()));
        Some(runs)
    }
}

/// Returns the class of the innermost scope that has one.
fn class_of(scopes: &[Scope]) -> Option<&'static str> {
    let class =
        |scope: &Scope| CLASSES.iter().find(|(prefix, _)| prefix.is_prefix_of(*scope)).and_then(|(_, class)| *class);
    scopes.iter().rev().find_map(class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syntect::parsing::Regex;

    #[test]
    fn an_expression_backtracks_a_bounded_number_of_times() {
        LazyLock::force(&GRAMMARS);
        let expression = Regex::new("^(?:(?:a|aa)+x|a+b)".into());
        let is_match = |length| {
            let text = format!("{}b", "a".repeat(length));
            expression.search(&text, 0, text.len(), None)
        };
        assert!(is_match(4), "few steps back are allowed");
        assert!(!is_match(24), "a search that backtracks 100 000 times is given up");
    }
}
