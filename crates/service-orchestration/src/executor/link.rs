//! The line between a launch that takes long and whoever ordered it.

use async_channel::{Receiver, Sender};

/// What a launch says of itself, and hears of its orderer. By default nobody listens and nothing is heard.
#[derive(Debug, Clone)]
pub struct LaunchLink {
    said: Option<Sender<String>>,
    // Closed when the launch is not wanted any more; nothing is ever sent.
    given_up: (Sender<()>, Receiver<()>),
}

impl Default for LaunchLink {
    fn default() -> Self {
        Self {
            said: None,
            given_up: async_channel::bounded(1),
        }
    }
}

impl LaunchLink {
    /// A line, and what is said on it.
    pub fn new() -> (Self, Receiver<String>) {
        let (said, heard) = async_channel::unbounded();
        let link = Self {
            said: Some(said),
            ..Self::default()
        };
        (link, heard)
    }

    /// Tells what the launch is at, in one line for people: `pulling image nginx: 3 of 12 MB`. For each, the time that
    /// the service has to start begins anew.
    pub fn say(&self, doing: String) {
        if let Some(said) = &self.said {
            // Whoever listened may be gone.
            let _ = said.try_send(doing);
        }
    }

    /// Tells the launch that it is not wanted any more. It need not do anything about it.
    pub fn give_up(&self) {
        self.given_up.1.close();
    }

    /// Waits until the launch is not wanted any more.
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
        other.give_up();
        block_on(link.given_up());
        drop((link, other));
        assert!(block_on(heard.recv()).is_err());
    }
}
