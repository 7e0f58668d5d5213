//! Long conversations: once a conversation no longer fits its model, the oldest turns are replaced by a summary, or left out if none can
//! be made. The transcript shows which.

use super::cut::{Cut, Replacement, Room, Sizes, StoredSize};
use super::prompt::{FullPrompt, Prompt, count, min_output, run_counting, summary_message};
use super::summary::{self, Task};
use crate::AppState;
use crate::failure::Failure;
use domain::{Model, Plan, PromptMessage, Role, Tokens, TurnId, UserId, Viewer};
use providers::estimate::{self, Estimate};

/// Number of attempts to cut a prompt. The parts are counted one by one, and for some models the whole may count slightly more.
const ATTEMPTS: usize = 3;
/// Bytes per token of ordinary text, to charge counting that ends at a limit in tokens.
const BYTES_PER_TOKEN: u64 = 4;

/// Fits a prompt to its model: the conversation is sent as it is if it fits, otherwise without its oldest turns.
pub(super) async fn fit(
    app: &AppState,
    viewer: &Viewer,
    turn_id: TurnId,
    model: &Model,
    full: FullPrompt,
) -> Result<(Prompt, Estimate), Failure> {
    let limit = limit(&viewer.plan, model);
    if let Some(fitted) = whole(app, viewer, model, &full, limit).await? {
        return Ok(fitted);
    }
    let mut history = History::load(app, viewer.user_id, model, full, limit).await?;
    // While the model can't be called, no summary is paid for.
    let (mut room, mut may_summarize) = (Room::new(limit), app.providers.open_for_ms(model).is_none());
    for _ in 0..ATTEMPTS {
        let mut cut = history.sizes.cut(room);
        if cut.replacement == Replacement::New && std::mem::take(&mut may_summarize) {
            let summarized = match history.task(viewer, turn_id, cut, room) {
                Some(task) => summary::summarize(app, task).await,
                None => None,
            };
            if let Some(text) = summarized {
                history.set_stored(model, cut.turns, text);
                // The same turns, now next to a summary whose size is known.
                cut = history.sizes.cut(room);
            }
        }
        let prompt = history.prompt(cut);
        let counted = count(app, viewer.user_id, model, &prompt.system, &prompt.messages).await?;
        let excess = counted.estimated.0.saturating_sub(limit);
        if excess == 0 {
            return Ok((prompt, counted));
        }
        room = Room::new(cut.total.saturating_sub(excess).min(room.limit));
    }
    // Not even this may fit. The turn is then refused with the size of the message alone.
    let prompt = history.full.fitted(history.full.past.len(), None);
    let counted = count(app, viewer.user_id, model, &prompt.system, &prompt.messages).await?;
    Ok((prompt, counted))
}

/// Estimates the tokens of the prompt that [`fit`] would return. Instead of making a summary, it counts one of the maximum length.
pub(crate) async fn estimate(
    app: &AppState,
    viewer: &Viewer,
    model: &Model,
    full: FullPrompt,
) -> Result<Tokens, Failure> {
    let limit = limit(&viewer.plan, model);
    if let Some((_, counted)) = whole(app, viewer, model, &full, limit).await? {
        return Ok(counted.estimated);
    }
    let history = History::load(app, viewer.user_id, model, full, limit).await?;
    let cut = history.sizes.cut(Room::new(limit));
    if cut.replacement == Replacement::New {
        return Ok(Tokens(cut.total));
    }
    let prompt = history.prompt(cut);
    Ok(count(app, viewer.user_id, model, &prompt.system, &prompt.messages).await?.estimated)
}

/// Returns the maximum size of a prompt: what the model's context and the plan's daily limit hold next to a response.
fn limit(plan: &Plan, model: &Model) -> u64 {
    model.context.min(plan.tokens_per_day).0.saturating_sub(min_output(model).0)
}

/// Returns the prompt with the whole conversation if it fits and isn't longer in bytes than the limit in tokens. Longer conversations may
/// fit too, but are counted only as far as they do.
async fn whole(
    app: &AppState,
    viewer: &Viewer,
    model: &Model,
    full: &FullPrompt,
    limit: u64,
) -> Result<Option<(Prompt, Estimate)>, Failure> {
    if full.past.is_empty() || full.bytes() as u64 <= limit {
        let prompt = full.fitted(0, None);
        let counted = count(app, viewer.user_id, model, &prompt.system, &prompt.messages).await?;
        if full.past.is_empty() || counted.estimated.0 <= limit {
            return Ok(Some((prompt, counted)));
        }
    }
    Ok(None)
}

/// A conversation that may be too long for its model.
struct History {
    full: FullPrompt,
    /// For each turn before the question, the number of messages up to its end.
    ends: Vec<usize>,
    /// The stored summary, if it replaces whole turns of this conversation.
    stored: Option<String>,
    stored_turns: usize,
    sizes: Sizes,
}

impl History {
    /// Loads the stored summary and counts each message once, the newest first, up to the limit.
    async fn load(app: &AppState, user: UserId, model: &Model, full: FullPrompt, limit: u64) -> Result<Self, Failure> {
        let stored = match full.conversation_id {
            Some(id) => store::summary::load(&app.db, id).await?,
            None => None,
        };
        let ends = turn_ends(&full.past);
        // A summary belongs to the path to its last message. In another branch, which doesn't have that message, it isn't used.
        let stored = stored.and_then(|summary| {
            let last = full.past.iter().position(|message| message.message_id == summary.until)?;
            let turns = ends.partition_point(|end| *end <= last + 1);
            (turns > 0).then_some((turns, summary.text))
        });
        let bytes = usize::try_from(limit.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(usize::MAX).min(full.bytes());
        let model = model.clone();
        let counting = move || Self::counted(&model, full, ends, stored, limit);
        Ok(run_counting(app, user, bytes, counting).await?)
    }

    fn counted(model: &Model, full: FullPrompt, ends: Vec<usize>, stored: Option<(usize, String)>, limit: u64) -> Self {
        let question = full.question();
        let fixed = estimate::prompt(model, &full.system, &[question]).estimated.0;
        let newest_first = (0..ends.len()).rev().map(|turn| {
            let messages = &full.past[start(&ends, turn)..ends[turn]];
            messages.iter().map(|message| size(model, full.attached.past(message))).sum::<u64>()
        });
        let stored_size =
            stored.as_ref().map(|(turns, text)| StoredSize { turns: *turns, tokens: summary_size(model, text) });
        let sizes = Sizes::new(fixed, ends.len(), newest_first, stored_size, limit);
        let (stored_turns, stored) = stored.map_or((0, None), |(turns, text)| (turns, Some(text)));
        Self { full, ends, stored, stored_turns, sizes }
    }

    /// Returns the number of messages in the oldest turns.
    fn messages_in(&self, turns: usize) -> usize {
        start(&self.ends, turns)
    }

    /// Returns what a summary of the turns to cut is made from: the stored summary and the turns that it doesn't replace, so that each turn
    /// is summarized once however long the conversation gets.
    fn task<'a>(&'a self, viewer: &'a Viewer, turn_id: TurnId, cut: Cut, room: Room) -> Option<Task<'a>> {
        let (from, until) = (self.messages_in(self.stored_turns), self.messages_in(cut.turns));
        Some(Task {
            viewer,
            turn_id,
            conversation_id: self.full.conversation_id?,
            earlier: self.stored.as_deref(),
            messages: self.full.past.get(from..until)?,
            until: self.full.past[..until].last()?.message_id,
            max_output: Tokens(room.summary_output),
            needed_next: Tokens(cut.total),
        })
    }

    fn set_stored(&mut self, model: &Model, turns: usize, text: String) {
        self.sizes.set_stored(StoredSize { turns, tokens: summary_size(model, &text) });
        (self.stored, self.stored_turns) = (Some(text), turns);
    }

    /// Returns the prompt without the turns to cut. A summary that is still to be made is left out.
    fn prompt(&self, cut: Cut) -> Prompt {
        let stored = self.stored.as_deref().filter(|_| cut.replacement == Replacement::Stored);
        self.full.fitted(self.messages_in(cut.turns), stored)
    }
}

/// Returns the index after the last message of each turn: a question with its response, if it has one.
fn turn_ends(past: &[store::message::PromptMessage]) -> Vec<usize> {
    let turns = past.chunk_by(|_, next| next.role != Role::User);
    turns
        .scan(0, |end, turn| {
            *end += turn.len();
            Some(*end)
        })
        .collect()
}

/// Returns the index of a turn's first message, or the number of messages if there is no such turn.
fn start(ends: &[usize], turn: usize) -> usize {
    turn.checked_sub(1).and_then(|before| ends.get(before).or(ends.last())).copied().unwrap_or(0)
}

/// Counts one message with its share of the framing, rounded up, so that the parts are never less than the whole.
fn size(model: &Model, message: PromptMessage) -> u64 {
    let (with, without) = (estimate::prompt(model, "", &[message]), estimate::prompt(model, "", &[]));
    with.estimated.0.saturating_sub(without.estimated.0) + 1
}

fn summary_size(model: &Model, text: &str) -> u64 {
    size(model, summary_message(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::attached::Attached;
    use crate::turn::testing;
    use domain::{MessageId, Role, Thinking};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use store::turn::Branch;
    use uuid::Uuid;

    fn words(n: usize) -> String {
        (0..n).map(|word| format!("word{word} ")).collect()
    }

    /// Returns a conversation with the number of words of each turn's question and answer. An interrupted turn has no answer.
    fn conversation(turns: &[(usize, usize)], question: usize) -> FullPrompt {
        let mut past = Vec::new();
        for (question, answer) in turns {
            for (role, n) in [(Role::User, *question), (Role::Assistant, *answer)].into_iter().filter(|(_, n)| *n > 0) {
                past.push(store::message::PromptMessage {
                    message_id: MessageId::from(Uuid::from_u128(past.len() as u128)),
                    role,
                    text: words(n),
                });
            }
        }
        let (text, attached) = (words(question), Attached::default());
        let system = domain::brand::SYSTEM_PROMPT.to_owned();
        FullPrompt { conversation_id: None, branch: Branch::End { leaf_id: None }, system, past, text, attached }
    }

    #[test]
    fn turns_end_where_the_next_one_begins() {
        let full = conversation(&[(1, 1), (1, 0), (1, 1)], 1);
        let ends = turn_ends(&full.past);
        assert_eq!(ends, [2, 3, 5]);
        assert_eq!([0, 1, 2, 3, 4].map(|turn| start(&ends, turn)), [0, 2, 3, 5, 5]);
        assert!(turn_ends(&[]).is_empty() && start(&[], 0) == 0);
    }

    proptest! {
        #[test]
        fn the_prompt_has_whole_turns_and_the_question_and_is_not_larger_than_planned(
            turns in vec((1_usize..40, 0_usize..40), 0..12),
            question in 1_usize..40,
            stored in 0_usize..12,
            limit in 100_u64..2_000,
            learned in proptest::option::of(500_u64..2_000),
        ) {
            let model = Model { input_permille: learned, ..testing::model(Thinking::None) };
            let full = conversation(&turns, question);
            let (ends, stored) = (turn_ends(&full.past), stored.min(turns.len()));
            let stored = (stored > 0).then(|| (stored, words(30)));
            let history = History::counted(&model, full, ends, stored, limit);
            let cut = history.sizes.cut(Room::new(limit));
            let (prompt, past) = (history.prompt(cut), &history.full.past);

            let removed = history.messages_in(cut.turns);
            let is_split = past.get(removed).is_some_and(|first| first.role == Role::Assistant);
            prop_assert!(!is_split, "a turn was split");
            let read: String = prompt.messages.iter().map(|message| message.text.as_str()).collect::<Vec<_>>().join("\n\n");
            let kept = past[removed..].iter().map(|message| message.text.as_str()).chain([history.full.text.as_str()]);
            prop_assert!(read.ends_with(&kept.collect::<Vec<_>>().join("\n\n")), "all that is kept, in order");
            let roles: Vec<Role> = prompt.messages.iter().map(|message| message.role).collect();
            prop_assert!(roles.windows(2).all(|pair| pair[0] != pair[1]) && roles.last() == Some(&Role::User));
            prop_assert_eq!(prompt.history_cut.is_some(), cut.turns > 0);

            let counted = estimate::prompt(&model, &prompt.system, &prompt.messages).estimated.0;
            prop_assert!(counted <= cut.total, "{} tokens, planned {}", counted, cut.total);
        }
    }
}
