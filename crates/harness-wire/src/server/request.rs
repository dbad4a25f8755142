//! The state of one request in flight, shared by the connection and the request's [`Responder`](super::Responder).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::Event;

use super::error::Violation;
use crate::link::{CHUNK, CLIENT_WINDOW, Credit, STDIN_WINDOW};
use crate::message::TerminalSize;

/// The most signals and resizes that may wait to be taken.
const MAX_CONTROLS: usize = 256;

/// What a client sends to an exec or attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for stdin.
    Stdin(Vec<u8>),
    /// No more stdin.
    CloseStdin,
    /// The terminal's new size.
    Resize(TerminalSize),
    /// A signal number for the process.
    Signal(i32),
}

/// Why a request should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The client cancelled the request. It still gets a response.
    Cancelled,
    /// The client is gone.
    Disconnected,
}

#[derive(Debug)]
pub(super) struct RequestState {
    pub(super) credit: Credit,
    shared: Mutex<Shared>,
    changed: Event,
}

#[derive(Debug)]
struct Shared {
    stop: Option<Stop>,
    inputs: VecDeque<Input>,
    controls: usize,
    /// How many bytes of stdin the client may still send.
    allowance: u64,
}

impl RequestState {
    pub(super) fn new() -> Self {
        Self {
            credit: Credit::new(CLIENT_WINDOW),
            shared: Mutex::new(Shared {
                stop: None,
                inputs: VecDeque::new(),
                controls: 0,
                allowance: STDIN_WINDOW,
            }),
            changed: Event::new(),
        }
    }

    pub(super) fn stop(&self, why: Stop) {
        let mut shared = self.lock();
        if shared.stop != Some(Stop::Disconnected) {
            shared.stop = Some(why);
        }
        drop(shared);
        self.credit.close();
        self.changed.notify(usize::MAX);
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.lock().stop
    }

    pub(super) async fn when_stopped(&self) -> Stop {
        self.wait_for(|shared| shared.stop).await
    }

    /// Queues bytes of stdin. Small pieces are joined, so that they need little memory.
    pub(super) fn stdin(&self, id: u64, bytes: Vec<u8>) -> Result<(), Violation> {
        let mut shared = self.lock();
        let len = bytes.len() as u64;
        shared.allowance = shared
            .allowance
            .checked_sub(len)
            .ok_or(Violation::StdinOverrun(id))?;
        match shared.inputs.back_mut() {
            Some(Input::Stdin(last)) if last.len() + bytes.len() <= CHUNK => last.extend_from_slice(&bytes),
            _ if bytes.is_empty() => {}
            _ => shared.inputs.push_back(Input::Stdin(bytes)),
        }
        drop(shared);
        self.changed.notify(usize::MAX);
        Ok(())
    }

    /// Queues an input other than stdin.
    pub(super) fn control(&self, id: u64, input: Input) -> Result<(), Violation> {
        let mut shared = self.lock();
        if shared.controls >= MAX_CONTROLS {
            return Err(Violation::InputFlood(id));
        }
        shared.controls += 1;
        shared.inputs.push_back(input);
        drop(shared);
        self.changed.notify(usize::MAX);
        Ok(())
    }

    /// The next input; `None` once the request is stopped.
    pub(super) async fn next_input(&self) -> Option<Input> {
        self.wait_for(|shared| {
            if shared.stop.is_some() {
                return Some(None);
            }
            let input = shared.inputs.pop_front()?;
            if !matches!(input, Input::Stdin(_)) {
                shared.controls -= 1;
            }
            Some(Some(input))
        })
        .await
    }

    /// Allows the client to send this much more stdin.
    pub(super) fn allow_stdin(&self, bytes: u64) {
        let mut shared = self.lock();
        shared.allowance = shared.allowance.saturating_add(bytes);
    }

    async fn wait_for<R>(&self, mut ready: impl FnMut(&mut Shared) -> Option<R>) -> R {
        loop {
            let changed = {
                let mut shared = self.lock();
                if let Some(result) = ready(&mut shared) {
                    return result;
                }
                self.changed.listen()
            };
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn stdin_beyond_the_grant_and_floods_are_violations() {
        let state = RequestState::new();
        for _ in 0..STDIN_WINDOW {
            state.stdin(1, vec![b'x']).unwrap();
        }
        assert_eq!(state.stdin(1, vec![b'x']), Err(Violation::StdinOverrun(1)));
        assert_eq!(state.lock().inputs.len() as u64, STDIN_WINDOW / CHUNK as u64);
        for _ in 0..MAX_CONTROLS {
            state.control(1, Input::Signal(2)).unwrap();
        }
        assert_eq!(state.control(1, Input::Signal(2)), Err(Violation::InputFlood(1)));
    }

    #[test]
    fn a_lost_client_is_not_taken_for_one_that_cancelled() {
        let state = RequestState::new();
        state.stop(Stop::Disconnected);
        state.stop(Stop::Cancelled);
        assert_eq!(block_on(state.when_stopped()), Stop::Disconnected);
        assert_eq!(block_on(state.next_input()), None);
    }
}
