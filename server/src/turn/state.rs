//! The states of a turn between admission and its end.

use super::prompt::{Fallback, Prompt};
use super::providers::{cache_marks, own_cache_marks};
use super::reply::Reply;
use domain::{CacheMarks, ConversationId, Model, ModelName, Picos, PriceList, Tokens, TurnId, Usage, Viewer};
use providers::Chunks;
use providers::api::ApiRequest;
use quota::{Reservation, Spent};
use relay::Writer;
use std::sync::Arc;
use std::time::Duration;
use store::turn::PendingCall;
use tokio::time::Instant;

/// What every state of an admitted turn carries.
pub(crate) struct ActiveTurn {
    pub viewer: Viewer,
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    /// The ledger row of the call that answers.
    pub call: PendingCall,
    /// The model that answers.
    pub model: Model,
    pub price: PriceList,
    /// The requested model, if the fallback answers in its place.
    pub fallback_for: Option<ModelName>,
    /// The abandoned call of a hedged turn.
    pub other: Option<OtherCall>,
    /// The part of the reservation that covers the other call of a hedged turn.
    pub other_input: Tokens,
    /// Estimated input.
    pub estimated: Tokens,
    /// How the request marks its prompt to be cached.
    pub cache_marks: CacheMarks,
    /// Maximum output.
    pub max_output: Tokens,
    pub reservation: Reservation,
}

impl ActiveTurn {
    /// Returns the fallback's maximum output next to another call with this input.
    pub fn max_output_beside(&self, fallback: &Fallback, other_input: Tokens) -> Tokens {
        // The grant may be smaller than the request if little of the limit was left.
        let reserved = self.reservation.permit.reserved();
        let room = reserved.saturating_sub(fallback.estimated.0).saturating_sub(other_input.0);
        fallback.max_output.min(Tokens(room))
    }

    /// Continues with the fallback's call. `other_input` is the input of the first call if that may be billed.
    fn switch_to_fallback(&mut self, fallback: Fallback, call: PendingCall, other_input: Tokens) {
        self.max_output = self.max_output_beside(&fallback, other_input);
        self.other_input = other_input;
        self.fallback_for = Some(std::mem::replace(&mut self.model, fallback.model).name);
        (self.call, self.price, self.estimated) = (call, fallback.price, fallback.estimated);
    }
}

/// A turn whose message and ledger row are written and whose hold is confirmed. No provider has accepted it yet.
pub(crate) struct PendingTurn {
    pub turn: ActiveTurn,
    /// Whether the turn started its conversation.
    pub started_conversation: bool,
    /// Whether that conversation is temporary, and keeps its general title.
    pub is_temporary: bool,
    pub prompt: Prompt,
    /// The requested reasoning effort.
    pub effort: Option<String>,
    /// The request that is sent in place of the prompt, if this is an API call.
    pub api: Option<Arc<ApiRequest>>,
    pub fallback: Option<Fallback>,
    /// Silence after which the fallback is called as well.
    pub hedge_after: Option<Duration>,
}

impl PendingTurn {
    /// Continues with the fallback's call. `other_input` is the input of the first call if that may be billed.
    pub fn switch_to_fallback(&mut self, fallback: Fallback, call: PendingCall, other_input: Tokens) {
        self.turn.switch_to_fallback(fallback, call, other_input);
        let ActiveTurn { model, price, estimated, .. } = &self.turn;
        self.turn.cache_marks = cache_marks(self.api.as_deref(), model, price, *estimated);
    }
}

/// A turn whose call a provider has accepted.
pub(crate) struct OpenedTurn {
    pub turn: ActiveTurn,
    /// When the request was sent.
    pub sent: Instant,
    pub chunks: Chunks,
}

/// A turn whose response is streamed to its event log, or to the API client.
pub(crate) struct RunningTurn {
    pub turn: ActiveTurn,
    /// When the request was sent.
    pub sent: Instant,
    pub chunks: Chunks,
    pub log: Writer,
    /// The conversation that the turn started, if a model writes its title.
    pub untitled: Option<Untitled>,
    /// Receives the response of an API call instead of the log.
    pub reply: Option<Reply>,
}

/// A new conversation to write a title for, once its first response has ended.
pub(crate) struct Untitled {
    pub viewer: Viewer,
    pub conversation_id: ConversationId,
    /// The user's message, shortened.
    pub question: String,
}

/// The abandoned call of a hedged turn. Its ledger row stays pending until the turn ends, and is then charged its estimated input. If its
/// model thinks, the provider may bill reasoning too, but the reservation covers only one response.
pub(crate) struct OtherCall {
    pub model: ModelName,
    pub estimated: Tokens,
    pub cost: Picos,
    /// Whether its provider failed, as opposed to being slower than the other one.
    pub has_failed: bool,
}

impl OtherCall {
    pub fn of(model: &Model, price: &PriceList, estimated: Tokens, has_failed: bool) -> Self {
        // Only turns of the chat are hedged.
        let usage = Usage::of_uncounted_prompt(estimated, own_cache_marks(model, price, estimated));
        Self { model: model.name.clone(), estimated, cost: price.price(&usage).1, has_failed }
    }
}

/// Adds the abandoned call of a hedged turn to its usage and cost.
pub(crate) fn with_other_call(mut spent: Spent, other: Option<OtherCall>) -> Spent {
    if let Some(OtherCall { model, estimated, cost, .. }) = other {
        spent.tokens = spent.tokens + estimated;
        spent.costs.push((model, cost));
    }
    spent
}
