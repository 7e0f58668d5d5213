//! The reply to an API client: the provider's chunks in the client's format.

use super::call_problem::ApiError;
use domain::{Model, Problem, Usage};
use providers::api::{ApiFormat, ApiRequest, ApiResponse};
use providers::{Chunk, End, ProviderError};
use store::api_call::StoredAnswer;
use tokio::sync::mpsc::UnboundedSender;

/// A part of a reply.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Server-sent events of a streamed reply.
    Frames(String),
    /// The last of them. The channel may stay open for longer.
    LastFrames(String),
    /// The JSON body of a reply that isn't streamed.
    Whole(String),
    /// A reply that isn't streamed has failed.
    Failed(Problem),
}

/// A reply in progress.
pub(crate) struct Reply {
    format: ApiFormat,
    response: ApiResponse,
    streams: bool,
    /// Chunks that aren't passed on yet.
    arrived: Vec<Chunk>,
    /// All frames so far, if the answer is stored for a repeated request.
    kept: Option<String>,
    /// Unbounded: a slow reader must not delay the end of the call, and the output is bounded by its grant.
    pieces: UnboundedSender<Piece>,
}

/// What a reply is made of.
pub(super) struct NewReply<'a> {
    pub request: &'a ApiRequest,
    /// The model that answers.
    pub model: &'a Model,
    /// Identifies the response.
    pub id: &'a str,
    pub created_unix: i64,
    /// Whether the answer is stored for a repeated request.
    pub is_kept: bool,
    pub pieces: UnboundedSender<Piece>,
}

impl Reply {
    pub(super) fn new(new: NewReply<'_>) -> Self {
        let NewReply { request, model, id, created_unix, is_kept, pieces } = new;
        Self {
            format: request.format(),
            response: ApiResponse::new(request, model, id, created_unix),
            streams: request.streams(),
            arrived: Vec::new(),
            kept: is_kept.then(String::new),
            pieces,
        }
    }

    /// Takes a chunk, and returns it as the answer counts it: what a model writes to call a tool is output like text, and a tool call is a
    /// complete answer. Returns `None` for a chunk that only repeats others.
    pub(super) fn take(&mut self, chunk: Result<Chunk, ProviderError>) -> Option<Result<Chunk, ProviderError>> {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Some(Err(error)),
        };
        let counted = match &chunk {
            Chunk::Event(_) => None,
            Chunk::ToolCall { name, .. } => Some(Chunk::Text(name.clone())),
            Chunk::ToolArguments { json, .. } => Some(Chunk::Text(json.clone())),
            Chunk::End(End::ToolCall) => Some(Chunk::End(End::Complete)),
            other => Some(other.clone()),
        };
        self.arrived.push(chunk);
        counted.map(Ok)
    }

    /// Passes on what has arrived.
    pub(super) fn pass_on(&mut self) {
        let frames = std::mem::take(&mut self.arrived).iter().flat_map(|chunk| self.response.push(chunk)).collect();
        self.send(frames);
    }

    /// Drops what has arrived beyond the granted length. The response ends as cut off.
    pub(super) fn cut(&mut self) {
        self.arrived.clear();
        let frames = self.response.push(&Chunk::End(End::Length));
        self.send(frames);
    }

    fn send(&mut self, frames: Vec<String>) {
        if frames.is_empty() {
            return;
        }
        let frames = frames.concat();
        if let Some(kept) = &mut self.kept {
            kept.push_str(&frames);
        }
        // Fails if the client has disconnected.
        let _ = self.pieces.send(Piece::Frames(frames));
    }

    /// Completes the reply. Nothing of its end is sent yet.
    pub(super) fn complete(mut self, usage: &Usage) -> CompleteReply {
        let kept = self.kept.take();
        let (last, content_type) = match self.streams {
            true => (Piece::LastFrames(self.response.finish(usage).concat()), "text/event-stream"),
            false => (Piece::Whole(self.response.whole(usage).to_string()), "application/json"),
        };
        let answer = kept.map(|mut body| {
            if let Piece::LastFrames(text) | Piece::Whole(text) = &last {
                body.push_str(text);
            }
            StoredAnswer { status: 200, content_type: content_type.to_owned(), body: body.into_bytes() }
        });
        CompleteReply { last, answer, pieces: self.pieces }
    }

    /// Ends the reply with a problem.
    pub(super) fn fail(mut self, problem: Problem) {
        if !self.streams {
            let _ = self.pieces.send(Piece::Failed(problem));
            return;
        }
        let error = ApiError::of(self.format, problem);
        let frames = self.response.fail(error.status, error.kind, &error.message).concat();
        let _ = self.pieces.send(Piece::LastFrames(frames));
    }
}

/// A reply whose end isn't sent yet.
pub(super) struct CompleteReply {
    last: Piece,
    /// The whole answer, if it is stored for a repeated request.
    pub answer: Option<StoredAnswer>,
    pieces: UnboundedSender<Piece>,
}

impl CompleteReply {
    /// Sends the end.
    pub fn send(self) {
        let _ = self.pieces.send(self.last);
    }
}
