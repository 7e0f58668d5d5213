//! Tests of the HTML view over logs in memory. `server/tests/it/chat/html_view.rs` reads it over HTTP.

use super::*;
use proptest::prelude::*;
use uuid::Uuid;

/// Responses whose HTML changes while they arrive: what follows decides what a line is.
const ANSWERS: [&str; 5] = [
    "Title\n=====\n\nSome *words*, a [link][1] and code:\n\n```rust\nfn main() {\n    println!(\"hi\");\n}\n```\n\nDone.\n\n[1]: https://example.com\n",
    "| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n\n- one\n- two\n\n  more\n- three\n\n1. x\n2. y",
    "Grüße **注意：**正文 🦀 and $a_1 + b$ cost $5.\n\n> quoted\nlazily\n\n***\n\nend[^1].\n\n[^1]: A note.",
    "```markdown\n# Title\n```json\n{\"a\": 1}\n```\n```\n\nafter",
    "",
];

fn turn_id() -> TurnId {
    TurnId::from(Uuid::from_u128(7))
}

/// Returns the log of a response that arrived in these pieces.
fn log(pieces: &[&str]) -> Vec<Entry> {
    let deltas = pieces.iter().map(|text| ("delta", serde_json::json!({ "text": text }).to_string()));
    let all = [("turn", "{}".to_owned())].into_iter().chain(deltas).chain([("finish", "{}".to_owned())]);
    let entry = |(id, (name, data)): (u64, (&'static str, String))| {
        let is_last = name == "finish";
        Entry { id, name, data: data.into(), is_last }
    };
    (1..).zip(all).map(entry).collect()
}

/// Returns the view's events after number `after`.
fn view(log: &[Entry], after: u64, interval: Duration) -> Vec<Entry> {
    let mut view = View::new(turn_id(), after, interval);
    let now = Instant::now();
    log.iter().for_each(|entry| view.take(entry.clone(), now));
    assert!(view.is_done && view.due().is_none());
    view.ready.into()
}

/// Applies an event to a client's blocks.
fn apply(blocks: &mut Vec<String>, event: &Entry) {
    if event.name != "block" {
        return;
    }
    let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
    for update in data["updates"].as_array().unwrap() {
        let update: Update = serde_json::from_value(update.clone()).unwrap();
        let block = usize::try_from(update.block).unwrap();
        blocks.resize(blocks.len().max(block + 1), String::new());
        assert!(blocks[block].is_char_boundary(usize::try_from(update.keep).unwrap()), "{update:?}");
        blocks[block] = joined(&blocks[block], &update);
    }
}

fn html(events: &[Entry]) -> String {
    let mut blocks = Vec::new();
    events.iter().for_each(|event| apply(&mut blocks, event));
    blocks.concat()
}

/// Splits a text at these positions, each a fraction of its length in thousandths.
fn split(text: &str, cuts: &[usize]) -> Vec<String> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(text.len() * cut / 1_000)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| text[pair[0]..pair[1]].to_owned()).collect()
}

#[test]
fn events_keep_their_order_and_ids() {
    let log = log(&["Hello ", "world", ".\n\n", "Bye."]);
    let found: Vec<_> = view(&log, 0, Duration::ZERO).iter().map(|event| (event.id, event.name)).collect();
    assert_eq!((found[0], found[1]), ((1, "turn"), (2, "block")));
    assert_eq!(found.last(), Some(&(6, "finish")));
    assert!(found.iter().is_sorted_by_key(|(id, _)| *id), "{found:?}");
    let names: Vec<_> = view(&log, 6, Duration::ZERO).iter().map(|event| event.name).collect();
    assert!(names.is_empty(), "{names:?}");
    let rest: Vec<_> = view(&log, 5, Duration::ZERO).iter().map(|event| event.name).collect();
    assert_eq!(rest, ["block", "finish"], "the open block is sent whole after a resume");
}

#[test]
fn text_is_sent_before_any_other_event() {
    let mut log = log(&["a", "b", "c"]);
    log.insert(3, Entry { name: "reasoning", ..log[1].clone() });
    (1_u64..).zip(&mut log).for_each(|(id, entry)| entry.id = id);
    let found: Vec<_> = view(&log, 0, Duration::from_secs(3_600)).iter().map(|event| (event.id, event.name)).collect();
    // The first piece is sent at once; the others wait for the interval, or for another event.
    assert_eq!(found, [(1, "turn"), (2, "block"), (3, "block"), (4, "reasoning"), (5, "block"), (6, "finish")]);
}

#[test]
fn unsent_text_is_due_after_the_interval() {
    let mut view = View::new(turn_id(), 0, Duration::from_secs(9));
    let (log, now) = (log(&["a", "b"]), Instant::now());
    log[..2].iter().for_each(|entry| view.take(entry.clone(), now));
    assert!(view.due().is_none() && view.ready.len() == 2);
    view.take(log[2].clone(), now + Duration::from_secs(1));
    assert_eq!((view.due(), view.ready.len()), (Some(now + Duration::from_secs(9)), 2));
    view.flush(now + Duration::from_secs(9));
    assert!(view.due().is_none() && view.ready.len() == 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_streamed_html_is_the_stored_html(
        answer in prop::sample::select(ANSWERS.to_vec()),
        cuts in prop::collection::vec(0_usize..1_000, 0..60),
        at_once in any::<bool>(),
    ) {
        let pieces = split(answer, &cuts);
        let log = log(&pieces.iter().map(String::as_str).collect::<Vec<_>>());
        let interval = if at_once { Duration::ZERO } else { Duration::from_secs(3_600) };
        prop_assert_eq!(html(&view(&log, 0, interval)), markdown::render(answer, &turn_id().to_string()));
    }

    #[test]
    fn a_resume_after_any_event_leads_to_the_same_html(
        answer in prop::sample::select(ANSWERS.to_vec()),
        cuts in prop::collection::vec(0_usize..1_000, 0..20),
    ) {
        let pieces = split(answer, &cuts);
        let log = log(&pieces.iter().map(String::as_str).collect::<Vec<_>>());
        let expected = markdown::render(answer, &turn_id().to_string());
        let mut blocks = Vec::new();
        for event in view(&log, 0, Duration::ZERO) {
            apply(&mut blocks, &event);
            let mut resumed = blocks.clone();
            for event in view(&log, event.id, Duration::ZERO) {
                apply(&mut resumed, &event);
            }
            // The last block may have the id of an earlier one, which its sender then sends again.
            prop_assert_eq!(resumed.concat(), expected.as_str(), "after {}", event.id);
        }
    }
}
