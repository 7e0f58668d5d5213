//! The body of a request, which must arrive in time (field note 103).

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Time for a body to arrive that is no larger than a form may be.
const FORM_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of a body to which that time applies. Handlers that take larger bodies set their own deadline.
const FORM_BYTES: u64 = 64 * 1024;
/// Time for a larger body to arrive, or one of unknown size. Longer than that of the handlers that read large bodies, which then explain it.
const TIMEOUT: Duration = Duration::from_secs(65);

/// Time for an uploaded file to arrive.
const FILE_TIMEOUT: Duration = Duration::from_secs(300);

/// A body that fails once its time is over, however slowly it trickles in.
pub(super) struct DeadlineBody {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

impl DeadlineBody {
    /// Starts the time of a body, which is an uploaded file's if `is_file`.
    pub(super) fn new(body: Incoming, is_file: bool) -> Self {
        let is_form = body.size_hint().upper().is_some_and(|bytes| bytes <= FORM_BYTES);
        let timeout = match (is_file, is_form) {
            (true, _) => FILE_TIMEOUT,
            (false, true) => FORM_TIMEOUT,
            (false, false) => TIMEOUT,
        };
        let deadline = Box::pin(tokio::time::sleep(timeout));
        Self { body, deadline }
    }
}

impl HttpBody for DeadlineBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, deadline } = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the body didn't arrive in time");
        deadline.as_mut().poll(context).map(|()| Some(Err(late().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
