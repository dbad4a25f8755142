//! Connects work that takes long with whoever ordered it.

use async_channel::{Receiver, Sender};
use harness_model::ServiceName;

/// Carries progress messages to whoever ordered the work, and tells the work whether it is still wanted. By default
/// nobody listens, and the work is wanted to its end.
#[derive(Debug, Clone)]
pub struct Link<T> {
    said: Option<Sender<T>>,
    // Closed when it is not wanted any more. Nothing is ever sent.
    given_up: (Sender<()>, Receiver<()>),
}

/// The link of a launch. Each message says in one line for people what the launch is doing: `pulling image nginx: 3
/// of 12 MB`. With each message, the service's time to start begins anew.
pub type LaunchLink = Link<String>;

/// The link of an order to start, before it is planned: the service that is waited for, and what it is doing.
pub type OrderLink = Link<(ServiceName, String)>;

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self {
            said: None,
            given_up: async_channel::bounded(1),
        }
    }
}

impl<T> Link<T> {
    /// A link, and the receiver of its messages.
    pub fn new() -> (Self, Receiver<T>) {
        let (said, heard) = async_channel::unbounded();
        let link = Self {
            said: Some(said),
            ..Self::default()
        };
        (link, heard)
    }

    /// Says what the work is doing.
    pub fn say(&self, doing: T) {
        if let Some(said) = &self.said {
            // Whoever listened may be gone.
            let _ = said.try_send(doing);
        }
    }

    /// Says that the work is not wanted any more. A launch may ignore this.
    pub fn give_up(&self) {
        self.given_up.1.close();
    }

    /// Whether it is not wanted any more.
    pub fn is_given_up(&self) -> bool {
        self.given_up.1.is_closed()
    }

    /// Waits until it is not wanted any more.
    pub async fn given_up(&self) {
        let _ = self.given_up.1.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn a_launch_hears_that_it_is_given_up_and_is_heard() {
        let (link, heard) = LaunchLink::new();
        let other = link.clone();
        other.say("pulling".to_owned());
        assert_eq!(block_on(heard.recv()), Ok("pulling".to_owned()));
        assert!(block_on(futures_lite::future::poll_once(Box::pin(link.given_up()))).is_none());
        assert!(!link.is_given_up());
        other.give_up();
        assert!(link.is_given_up());
        block_on(link.given_up());
        drop((link, other));
        assert!(block_on(heard.recv()).is_err());
    }
}
