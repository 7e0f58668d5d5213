//! The API for programs: authenticated by a key, without a session and cookies.

pub(crate) mod caller;
