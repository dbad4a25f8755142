//! Reads what services wrote, over all their generations.
//!
//! ```text
//! source (one a service): generations in order ─▶ lines ─▶ redacted, filtered ─┐
//! source …                                                                     ├─▶ LogStream: merged by time
//! source …                                                                    ─┘
//! ```
//!
//! A source holds a few batches and then waits. So a slow reader costs limited memory, and no service waits for it.
//! What is rotated away meanwhile is counted as a gap.

mod cut;
mod last;
mod live;
mod merge;
mod source;

use std::sync::Arc;

use async_executor::Executor as Tasks;
use command_executor::logs::FollowError;
use futures_lite::{FutureExt, future};
use harness_model::{ProjectName, Redactor, ServiceName, WallTime};
use service_registry::{ChangeKind, Changes, Item, Subscription};

pub use last::{LastLines, last_lines};
pub use live::{LiveOutput, Output};

use crate::health::LogMatcher;
use crate::layout::Layout;
use merge::Merge;
use source::Source;

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Also lines that are still to come, over restarts.
    pub follow: bool,
    /// Only this many of the last lines that exist now, of all services together.
    pub tail: Option<u64>,
    /// Only lines at or after this time.
    pub since: Option<WallTime>,
    /// Only lines before this time.
    pub until: Option<WallTime>,
    /// Only lines that match this. Secrets are hidden before matching.
    pub grep: Option<LogMatcher>,
}

/// A line of a service, secrets hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLine {
    /// When its first byte was read from the service.
    pub time: WallTime,
    /// The service that wrote it.
    pub service: ServiceName,
    /// The number of the service's start, counted from 1.
    pub generation: u64,
    /// Whether it came from stderr.
    pub stderr: bool,
    /// Whether the line continues in a later item.
    pub partial: bool,
    /// Whether it continues the line before it of the same stream and start.
    pub continues: bool,
    /// The bytes without the line end.
    pub text: Vec<u8>,
}

/// What a [`LogStream`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogItem {
    /// A line of a service.
    Line(ServiceLine),
    /// Output is missing here: rotated away, dropped on a full disk, or damaged.
    Gap {
        /// The service with the missing output.
        service: ServiceName,
        /// How many lines are missing; 0 if only a part of one is.
        lines: u64,
    },
}

/// The output of a service cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the output of {service}, generation {generation}")]
pub struct LogsError {
    /// The service.
    pub service: ServiceName,
    /// The number of the service's start.
    pub generation: u64,
    /// The cause.
    #[source]
    pub source: FollowError,
}

/// Hides the secrets that a project has at the moment of the call.
pub type Redactors = Arc<dyn Fn() -> Arc<Redactor> + Send + Sync>;

/// What the sources of one stream share.
struct Shared {
    layout: Layout,
    changes: Changes,
    project: ProjectName,
    query: LogQuery,
    redactors: Redactors,
    /// When the logs were asked for. Anything written before counts as existing, anything after as to come.
    opened: WallTime,
    /// Bytes that a source reads at a time.
    batch: usize,
}

/// What all sources of a stream together should hold, in bytes.
const HELD: usize = 2 << 20;

/// The output of several services, merged in the order of time.
pub struct LogStream {
    shared: Arc<Shared>,
    tasks: Arc<Tasks<'static>>,
    merge: Merge,
    /// Notifies of services that are registered later, which belong to the stream too.
    newcomers: Option<Subscription>,
}

/// The output of these services as the query wants it, and the future that reads it. Poll the future as long as the
/// stream is read. With `newcomers`, services of the project that are registered later are included.
pub fn open(
    layout: Layout,
    changes: &Changes,
    project: ProjectName,
    services: impl IntoIterator<Item = ServiceName>,
    newcomers: bool,
    query: LogQuery,
    redactors: Redactors,
) -> (LogStream, impl Future<Output = ()> + Send + 'static) {
    let tasks = Arc::new(Tasks::new());
    let services: Vec<ServiceName> = services.into_iter().collect();
    let newcomers = newcomers && query.follow;
    let mut stream = LogStream {
        newcomers: newcomers.then(|| changes.subscribe(None)),
        merge: Merge::new(query.tail, newcomers && query.until.is_none()),
        tasks: Arc::clone(&tasks),
        shared: Arc::new(Shared {
            layout,
            changes: changes.clone(),
            project,
            query,
            redactors,
            opened: WallTime::now(),
            batch: (HELD / services.len().max(1)).clamp(16 << 10, 64 << 10),
        }),
    };
    for service in services {
        stream.add(service);
    }
    (stream, async move {
        tasks.run(future::pending::<()>()).await;
    })
}

impl LogStream {
    /// The next items, up to about `max_bytes` of text. Waits only if there is nothing yet. `None` when everything
    /// was returned. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// When the output of a service cannot be read.
    pub async fn next(&mut self, max_bytes: usize) -> Result<Option<Vec<LogItem>>, LogsError> {
        loop {
            let newcomer =
                async { Next::Newcomer(newcomer(self.newcomers.as_mut(), &self.shared.project).await) };
            let items = async { Next::Items(self.merge.next(max_bytes).await) };
            match items.or(newcomer).await {
                Next::Items(items) => return items,
                Next::Newcomer(service) => self.add(service),
            }
        }
    }

    fn add(&mut self, service: ServiceName) {
        if let Some(sender) = self.merge.input(&service) {
            let source = Source::new(Arc::clone(&self.shared), service, sender);
            self.tasks.spawn(source.run()).detach();
        }
    }
}

enum Next {
    Items(Result<Option<Vec<LogItem>>, LogsError>),
    Newcomer(ServiceName),
}

/// The next service of the project that is registered. Never completes without a subscription.
async fn newcomer(changes: Option<&mut Subscription>, project: &ProjectName) -> ServiceName {
    let Some(changes) = changes else {
        return future::pending().await;
    };
    loop {
        if let Item::Change(change) = changes.next().await
            && change.project == *project
            && change.kind == ChangeKind::Registered
            && let Some(service) = &change.service
        {
            return service.clone();
        }
    }
}
