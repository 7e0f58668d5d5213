//! A client's socket. It ends the connection of a client that doesn't read its response, and closes late if the client is still sending.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Sleep;

/// Time that a client may read nothing while there is something to send.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between the end of a response and the close of its socket, if part of the request was never read. Closing at once would reset the
/// connection, and many clients and proxies then discard the response, which says why the request was refused.
const LINGER: Duration = Duration::from_secs(1);

/// A socket with a timeout for writing.
pub(super) struct Socket {
    /// Taken only on drop.
    stream: Option<TcpStream>,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream), stalled: None }
    }

    fn with<T>(&mut self, poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut self.stream {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = self.with(|stream| poll(stream, context));
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().with(|stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(context, |stream, context| stream.poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write(context, |stream, context| stream.poll_shutdown(context))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let has_unread = matches!(stream.try_read(&mut [0]), Ok(1..));
        if has_unread && let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                drop(stream);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Socket::new(accepted.unwrap().0), client.unwrap())
    }

    /// Field note 103: a client that reads nothing doesn't keep its connection.
    #[tokio::test]
    async fn a_client_that_reads_nothing_is_disconnected() {
        let (mut socket, _client) = pair().await;
        let chunk = [0; 64 * 1024];
        // Real sockets and a paused clock don't go together: the clock is paused once the buffers are full.
        while tokio::time::timeout(Duration::from_millis(200), socket.write_all(&chunk)).await.is_ok() {}
        tokio::time::pause();
        let error = socket.write_all(&chunk).await.expect_err("the client reads nothing");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_response_is_read_although_the_request_was_not() {
        let (mut socket, mut client) = pair().await;
        client.write_all(b"unread").await.unwrap();
        let mut first = [0];
        socket.read_exact(&mut first).await.unwrap();
        socket.write_all(b"response").await.unwrap();
        socket.shutdown().await.unwrap();
        drop(socket);
        let mut response = String::new();
        client.read_to_string(&mut response).await.expect("the connection isn't reset");
        assert_eq!(response, "response");
    }
}
