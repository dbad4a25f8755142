//! What an engine reports by itself, on a connection that stays open.
//!
//! When the connection breaks, the engine has ended. But a new engine may answer the next request: if the system
//! holds the socket (socket activation), nobody notices that the engine was away. So when a container has ended, that
//! alone does not show whether its engine ended with it; the number of the engine's lives does.
//!
//! For containers, pauses are reported. Nothing is missed when the connection breaks: each container is looked at
//! again, and the engine repeats what has happened since.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_channel::{Receiver, Sender};
use async_io::Timer;
use bollard::Docker;
use bollard::query_parameters::EventsOptions;
use futures_lite::StreamExt;

use crate::engine::bridge::Task;

/// If the connection breaks before this, it was never really open.
const OPEN: Duration = Duration::from_secs(1);

/// The pause before connecting to an engine again.
const AGAIN: Duration = Duration::from_millis(300);

/// Whoever can be listened to.
pub(crate) trait Connect: Send + Sync + 'static {
    /// A client; `None` if nobody answers now.
    fn connect(&self) -> impl Future<Output = Option<Docker>> + Send;
}

/// Listens, from the first request on.
#[derive(Debug)]
pub(crate) struct Events {
    begun: Once,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    lives: AtomicU64,
    /// Those who follow a container, by the container's id.
    followers: Mutex<HashMap<String, Sender<()>>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            begun: Once::new(),
            heard: Arc::default(),
        }
    }
}

impl Events {
    /// The number of the current life of the engine that these events come from.
    pub(crate) fn lives(&self, engine: &Arc<impl Connect>) -> u64 {
        self.begin(engine);
        self.heard.lives.load(Ordering::SeqCst)
    }

    /// Receives a message whenever a container should be looked at.
    pub(crate) fn news_of(&self, engine: &Arc<impl Connect>, container: &str) -> Receiver<()> {
        // One message is enough: whoever looks sees everything that has happened.
        let (news, heard) = async_channel::bounded(1);
        {
            let mut followers = self.heard.followers();
            followers.retain(|_, follower| !follower.is_closed());
            followers.insert(container.to_owned(), news);
        }
        self.begin(engine);
        heard
    }

    /// Tells whoever follows a container to look at it.
    pub(crate) fn look_at(&self, container: &str) {
        self.heard.tell(container);
    }

    fn begin(&self, engine: &Arc<impl Connect>) {
        self.begun.call_once(|| {
            Task::spawn(listen(Arc::downgrade(engine), Arc::clone(&self.heard)));
        });
    }
}

impl Heard {
    fn followers(&self) -> std::sync::MutexGuard<'_, HashMap<String, Sender<()>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, container: &str) {
        if let Some(follower) = self.followers().get(container) {
            // If there is a message already, the follower will look anyway.
            let _ = follower.try_send(());
        }
    }

    fn tell_all(&self) {
        for follower in self.followers().values() {
            let _ = follower.try_send(());
        }
    }
}

async fn listen(engine: Weak<impl Connect>, heard: Arc<Heard>) {
    loop {
        let Some(present) = engine.upgrade() else { return };
        let connected = present.connect().await;
        drop(present);
        if let Some(docker) = connected {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            heard.tell_all();
            let options = EventsOptions {
                since: Some(now.as_secs().saturating_sub(1).to_string()),
                filters: Some(HashMap::from([(
                    "event".to_owned(),
                    vec!["pause".to_owned(), "unpause".to_owned()],
                )])),
                ..EventsOptions::default()
            };
            let opened = Instant::now();
            let mut events = std::pin::pin!(docker.events(Some(options)));
            while let Some(Ok(event)) = events.next().await {
                if let Some(container) = event.actor.and_then(|actor| actor.id) {
                    heard.tell(&container);
                }
            }
            if opened.elapsed() >= OPEN {
                heard.lives.fetch_add(1, Ordering::SeqCst);
            }
        }
        Timer::after(AGAIN).await;
    }
}
