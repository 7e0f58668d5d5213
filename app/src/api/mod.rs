//! Server functions that load the data of pages, one file per noun. Each is a public URL under `/fn` and authorizes its viewer itself.

pub mod admin;
pub mod api_key;
pub mod billing;
pub mod chat_settings;
pub mod conversation;
pub mod home;
pub mod identity;
pub mod import;
pub mod plan;
pub mod quota;
pub mod search;
pub mod security;
pub mod share;
pub mod status;
pub mod storage;
pub mod usage;

#[cfg(feature = "ssr")]
pub mod context;

use domain::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};
use server_fn::{codec::JsonEncoding, error::FromServerFnError, error::ServerFnErrorErr};

/// The error type of server functions: the problem shown to the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal(pub Problem);

impl FromServerFnError for Refusal {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(_: ServerFnErrorErr) -> Self {
        Self(Problem::new(ProblemKind::Internal, "The connection was lost. Try again."))
    }
}
