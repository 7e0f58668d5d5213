//! The scripts, and what they answer.

use crate::{Picture, Unavailable, Window};
use redis::{Script, Value};

pub(crate) struct Scripts {
    pub admit: Script,
    pub end: Script,
    pub confirm: Script,
    pub peek: Script,
    pub seed: Script,
}

impl Scripts {
    pub fn new() -> Self {
        let with_meter = |code: &str| Script::new(&[include_str!("meter.lua"), code].concat());
        Self {
            admit: with_meter(include_str!("admit.lua")),
            end: with_meter(include_str!("end.lua")),
            confirm: Script::new(include_str!("confirm.lua")),
            peek: with_meter(include_str!("peek.lua")),
            seed: with_meter(include_str!("seed.lua")),
        }
    }
}

/// What a script answered: a word, and what follows it.
pub(crate) enum Answer {
    Granted { output: u64, at_ms: u64, picture: Picture },
    Denied { window: Window, retry_after_ms: u64, picture: Picture },
    Running,
    Cold,
    Done(Picture),
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn picture_of(value: &Value) -> Option<Picture> {
    let Value::Array(items) = value else { return None };
    let [requests, reset, used, reserved, next, in_flight] = items.as_slice() else {
        return None;
    };
    Some(Picture {
        requests: number(requests)?,
        // -1 where nothing is used
        reset_ms: number(reset),
        tokens_used: number(used)?,
        tokens_reserved: number(reserved)?,
        next_free_ms: number(next),
        in_flight: number(in_flight)?,
    })
}

fn word(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// Reads an answer.
pub(crate) fn read(value: &Value) -> Result<Answer, Unavailable> {
    let parse = || {
        let Value::Array(items) = value else { return None };
        Some(match (word(items.first()?)?, &items[1..]) {
            (b"granted", [output, at, picture]) => {
                Answer::Granted { output: number(output)?, at_ms: number(at)?, picture: picture_of(picture)? }
            }
            (b"denied", [window, wait, picture]) => Answer::Denied {
                window: match word(window)? {
                    b"requests" => Window::Requests,
                    b"tokens" => Window::Tokens,
                    _ => Window::InFlight,
                },
                retry_after_ms: number(wait)?,
                picture: picture_of(picture)?,
            },
            (b"running", []) => Answer::Running,
            (b"cold", []) => Answer::Cold,
            (b"done", [picture]) => Answer::Done(picture_of(picture)?),
            _ => return None,
        })
    };
    parse().ok_or(Unavailable::Protocol)
}
