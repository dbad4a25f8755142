//! The one way to tokio, which bollard needs: a runtime with one thread, started by the first use.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use async_compat::Compat;
use futures_lite::AsyncWrite;

/// Runs a future where tokio's sockets and timers work.
pub(crate) fn within<F: Future>(future: F) -> Compat<F> {
    Compat::new(future)
}

/// A task on the runtime's thread.
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Task {
    /// Begins it; it goes on by itself.
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut future = Some(future);
        let spawn = std::future::poll_fn(|_| {
            let task = future.take().map(tokio::spawn);
            task.map_or(Poll::Pending, Poll::Ready)
        });
        // Entering the runtime is all that is waited for.
        Self(futures_lite::future::block_on(within(spawn)))
    }

    /// Ends it at its next pause.
    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

/// What bollard gives to write into, as everybody else knows it.
pub(crate) fn writer(
    input: Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
) -> impl AsyncWrite + Send + Unpin + 'static {
    Compat::new(input)
}
