//! Colors code: the scopes of Sublime Text's grammars, mapped to a few classes.

use std::ops::Range;
use std::sync::LazyLock;
use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};

static GRAMMARS: LazyLock<SyntaxSet> = LazyLock::new(two_face::syntax::extra_newlines);

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

/// The state of a grammar between lines.
#[derive(Clone)]
pub(crate) struct Highlighter {
    parser: ParseState,
    scopes: ScopeStack,
}

impl Highlighter {
    /// Returns the state at the first line of code; `None` if the language is unknown.
    pub fn new(language: &str) -> Option<Self> {
        Some(Self { parser: ParseState::new(grammar(language)?), scopes: ScopeStack::new() })
    }

    /// Returns the classes of a line, which ends with a line break; `None` if the grammar fails.
    pub fn line(&mut self, line: &str) -> Option<Vec<Run>> {
        let changes = self.parser.parse_line(line, &GRAMMARS).ok()?;
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
