//! Writes a turn's message and pending ledger row before any money is spent, and confirms its hold. Calls that answer no message of a
//! conversation have only the ledger row.

use super::html;
use super::path::changed;
use super::prompt::{Fallback, Prompt};
use super::providers::own_cache_marks;
use super::state::{ActiveTurn, PendingTurn};
use super::turn_request::{TurnRequest, max_cost};
use super::undo::{Bill, release, undo};
use crate::AppState;
use crate::failure::Failure;
use domain::{CacheMarks, ConversationId, Model, Picos, PriceList, Problem, PromptMessage, Tokens, TurnId, Viewer};
use providers::api::ApiRequest;
use providers::estimate::Estimate;
use quota::{Demand, Reservation};
use std::sync::Arc;
use store::message::StoredHtml;
use store::turn::{CallOwner, InsertOutcome, NewCall, NewTurn, PendingCall, Question};
use time::OffsetDateTime;

/// The title of temporary conversations, which has nothing of their messages.
const TEMPORARY_TITLE: &str = "Temporary chat";

/// Writes the message with its HTML and a pending ledger row, and confirms the hold. Returns `None` if the same turn was written before, else
/// the turn with its question.
pub(super) async fn persist(
    app: &AppState,
    request: TurnRequest,
    reservation: Reservation,
    html: Option<&StoredHtml>,
) -> Result<Option<(PendingTurn, Question)>, Failure> {
    let now = admitted_at(&reservation);
    let conversation_id = request.prompt.conversation_id.unwrap_or_else(|| ConversationId::at(now));
    let (call, question) = match insert(app, &request, &reservation, (conversation_id, now), html).await {
        Ok(Some(written)) => written,
        refused => {
            release(app, reservation).await;
            return refused.map(|_| None);
        }
    };
    let TurnRequest { viewer, chat_request, model, price, effort, fallback, hedge_after, prompt, counted, .. } =
        request;
    let cache_marks = own_cache_marks(&model, &price, counted.estimated);
    let pending = PendingTurn {
        started_conversation: prompt.conversation_id.is_none(),
        is_temporary: chat_request.is_temporary,
        turn: ActiveTurn {
            viewer,
            turn_id: chat_request.turn_id,
            conversation_id,
            call,
            model,
            price,
            fallback_for: None,
            other: None,
            other_input: hedge_after.and(fallback.as_ref()).map(|fallback| fallback.estimated).unwrap_or_default(),
            estimated: counted.estimated,
            cache_marks,
            max_output: Tokens(reservation.permit.output()),
            reservation,
        },
        prompt,
        effort,
        api: None,
        fallback,
        hedge_after,
    };
    Ok(Some((confirm(app, pending).await?, question)))
}

/// An admitted call that answers no message of a conversation: of the demo, of an API client, or for a summary or a title.
pub(super) struct AdmittedCall {
    pub owner: CallOwner,
    /// Whose meters count it.
    pub viewer: Viewer,
    /// Its own turn.
    pub turn_id: TurnId,
    pub model: Model,
    pub price: PriceList,
    pub counted: Estimate,
    /// Which parts of the prompt the provider is to keep in its cache.
    pub cache_marks: CacheMarks,
    /// The prompt; empty if the call sends the request of an API client.
    pub messages: Vec<PromptMessage>,
    /// The request of an API client, if this is an API call.
    pub api: Option<Arc<ApiRequest>>,
    pub fallback: Option<Fallback>,
    pub reservation: Reservation,
}

/// A call that is ready to be admitted, whose prompt the server has written: of the demo, or for a summary or a title.
pub(super) struct PromptCall {
    pub model: Model,
    pub price: PriceList,
    pub messages: Vec<PromptMessage>,
    pub counted: Estimate,
    pub demand: Demand,
}

impl PromptCall {
    /// Returns the maximum cost.
    pub fn max_cost(&self) -> Picos {
        max_cost(&self.model, &self.price, self.demand.input, self.demand.output_max)
    }

    /// Returns the admitted call, which has no fallback.
    pub fn admitted(self, owner: CallOwner, viewer: Viewer, turn_id: TurnId, reservation: Reservation) -> AdmittedCall {
        let Self { model, price, messages, counted, demand: _ } = self;
        let cache_marks = own_cache_marks(&model, &price, counted.estimated);
        AdmittedCall {
            owner,
            viewer,
            turn_id,
            model,
            price,
            counted,
            cache_marks,
            messages,
            api: None,
            fallback: None,
            reservation,
        }
    }
}

/// Writes the pending ledger row of a call, and confirms the hold.
pub(super) async fn persist_call(app: &AppState, call: AdmittedCall) -> Result<PendingTurn, Failure> {
    let AdmittedCall {
        owner,
        viewer,
        turn_id,
        model,
        price,
        counted,
        cache_marks,
        messages,
        api,
        fallback,
        reservation,
    } = call;
    let now = admitted_at(&reservation);
    let new = NewCall {
        turn_id,
        owner,
        subject: &viewer.subject,
        model: &model.name,
        price_id: price.tier(counted.estimated).id,
        counted: counted.counted,
        estimated: counted.estimated,
        reserved: Tokens(reservation.permit.reserved()),
        cache_marks,
        now,
    };
    let call = match store::turn::write_call_pending(&app.db, &new).await {
        Ok(call) => call,
        Err(error) => {
            release(app, reservation).await;
            return Err(error.into());
        }
    };
    let about = match owner {
        CallOwner::Conversation { conversation_id, .. } => Some(conversation_id),
        CallOwner::Visitor | CallOwner::Program { .. } => None,
    };
    let pending = PendingTurn {
        started_conversation: false,
        is_temporary: false,
        // The lowest effort: reasoning would take from the little output there is. The request of an API client has its own.
        effort: if api.is_some() { None } else { model.efforts.first().cloned() },
        turn: ActiveTurn {
            viewer,
            turn_id,
            // A new id belongs to no conversation.
            conversation_id: about.unwrap_or_else(|| ConversationId::at(now)),
            call,
            model,
            price,
            fallback_for: None,
            other: None,
            other_input: Tokens(0),
            estimated: counted.estimated,
            cache_marks,
            max_output: Tokens(reservation.permit.output()),
            reservation,
        },
        prompt: Prompt::of_side_call(about, messages),
        api,
        fallback,
        hedge_after: None,
    };
    confirm(app, pending).await
}

/// Confirms the hold of a written turn, or undoes the turn. The meters may have been lost between admission and the row, and granted again
/// without this turn (field note 101): no provider is called on an unconfirmed hold. From here on the row is part of every rebuild.
async fn confirm(app: &AppState, pending: PendingTurn) -> Result<PendingTurn, Failure> {
    match app.quotas.confirm(&pending.turn.reservation).await {
        Ok(true) => Ok(pending),
        // The hold lapsed or was lost.
        Ok(false) => {
            undo(app, pending, Bill::Nothing, false).await;
            Err(Problem::limits_unavailable().into())
        }
        Err(error) => {
            undo(app, pending, Bill::Nothing, false).await;
            Err(error.into())
        }
    }
}

/// The instant of admission by Redis' clock, so that meter and ledger count the usage at the same time.
fn admitted_at(reservation: &Reservation) -> OffsetDateTime {
    let ms = i64::try_from(reservation.permit.at_ms()).ok();
    let at = ms.and_then(|ms| OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok());
    at.unwrap_or_else(AppState::now)
}

/// Inserts message, turn and ledger row. Returns `None` if the same turn was written before.
async fn insert(
    app: &AppState,
    request: &TurnRequest,
    reservation: &Reservation,
    (conversation_id, now): (ConversationId, OffsetDateTime),
    html: Option<&StoredHtml>,
) -> Result<Option<(PendingCall, Question)>, Failure> {
    let TurnRequest { viewer, chat_request, model, price, settings, prompt, counted, .. } = request;
    let title = prompt.conversation_id.is_none().then(|| match chat_request.is_temporary {
        true => TEMPORARY_TITLE.to_owned(),
        false => html::title(&prompt.text),
    });
    let inserted = store::turn::write_pending(
        &app.db,
        &NewTurn {
            turn_id: chat_request.turn_id,
            user_id: viewer.user_id,
            subject: &viewer.subject,
            conversation_id,
            new_title: title.as_deref(),
            is_temporary: chat_request.is_temporary,
            settings,
            branch: prompt.branch,
            history_cut: prompt.history_cut,
            text: &prompt.text,
            attachments: &chat_request.attachments,
            edit_of: chat_request.edit_of,
            html,
            request_hash: &chat_request.hash,
            model: &model.name,
            price_id: price.tier(counted.estimated).id,
            counted: counted.counted,
            estimated: counted.estimated,
            reserved: Tokens(reservation.permit.reserved()),
            cache_marks: own_cache_marks(model, price, counted.estimated),
            now,
        },
    )
    .await?;
    match inserted {
        InsertOutcome::New(call, question) => Ok(Some((call, question))),
        InsertOutcome::Known => Ok(None),
        InsertOutcome::NoConversation => Err(Problem::not_found("conversation").into()),
        // A file was deleted or sent meanwhile.
        InsertOutcome::NoAttachment => {
            let problem = Problem::not_found("file");
            refuse_unless_duplicate(app, chat_request.turn_id, problem).await.map(|()| None)
        }
        InsertOutcome::Changed => refuse_unless_duplicate(app, chat_request.turn_id, changed()).await.map(|()| None),
    }
}

/// Refuses a turn that couldn't be written, unless a duplicate of it was written and is the reason.
async fn refuse_unless_duplicate(app: &AppState, turn_id: TurnId, problem: Problem) -> Result<(), Failure> {
    match store::turn::find(&app.db, turn_id).await? {
        Some(_) => Ok(()),
        None => Err(problem.into()),
    }
}
