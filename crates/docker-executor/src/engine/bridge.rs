//! The only way to tokio, which bollard needs: a runtime with one thread, started on first use.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use async_compat::Compat;
use futures_lite::AsyncWrite;

/// Runs a future so that tokio's sockets and timers work in it.
pub(crate) fn within<F: Future>(future: F) -> Compat<F> {
    Compat::new(future)
}

/// A task on the runtime's thread.
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Task {
    /// Starts it. It runs by itself.
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut future = Some(future);
        let spawn = std::future::poll_fn(|_| {
            let task = future.take().map(tokio::spawn);
            task.map_or(Poll::Pending, Poll::Ready)
        });
        // This only waits until the runtime is entered.
        Self(futures_lite::future::block_on(within(spawn)))
    }

    /// Ends it at its next await point.
    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

/// Turns bollard's writer into the kind that everybody else uses.
pub(crate) fn writer(
    input: Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
) -> impl AsyncWrite + Send + Unpin + 'static {
    Compat::new(input)
}
