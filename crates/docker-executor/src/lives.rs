//! How many lives an engine has had: a connection to it is held open, and when that breaks, the engine has ended.
//!
//! A new engine may answer what the former one was asked: where the system holds its socket (socket activation), nobody
//! finds it away. So a container's end alone does not tell whether its engine ended with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use async_io::Timer;
use bollard::query_parameters::EventsOptions;
use futures_lite::StreamExt;

use crate::bridge::Task;
use crate::engine::Engine;

/// A connection that breaks sooner was never held open.
const OPEN: Duration = Duration::from_secs(1);

/// The pause before an engine is connected to again.
const AGAIN: Duration = Duration::from_millis(300);

/// Counts them, from the first question on.
#[derive(Debug)]
pub(crate) struct Lives {
    begun: Once,
    count: Arc<AtomicU64>,
}

impl Default for Lives {
    fn default() -> Self {
        Self {
            begun: Once::new(),
            count: Arc::default(),
        }
    }
}

impl Lives {
    /// The number of the present life of an engine, whose lives these are.
    pub(crate) fn number(&self, engine: &Arc<Engine>) -> u64 {
        self.begun.call_once(|| {
            Task::spawn(watch(Arc::downgrade(engine), Arc::clone(&self.count)));
        });
        self.count.load(Ordering::SeqCst)
    }
}

async fn watch(engine: Weak<Engine>, count: Arc<AtomicU64>) {
    loop {
        let Some(present) = engine.upgrade() else { return };
        let connected = present.docker().await;
        drop(present);
        if let Ok(docker) = connected {
            let options = EventsOptions {
                // There are hardly any of these, and they are passed over.
                filters: Some(HashMap::from([("type".to_owned(), vec!["daemon".to_owned()])])),
                ..EventsOptions::default()
            };
            let opened = Instant::now();
            let mut events = std::pin::pin!(docker.events(Some(options)));
            while let Some(Ok(_)) = events.next().await {}
            if opened.elapsed() >= OPEN {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        Timer::after(AGAIN).await;
    }
}
