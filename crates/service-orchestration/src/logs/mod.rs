//! Reading what services wrote, over all their generations.
//!
//! ```text
//! source (one a service): generations in order ─▶ lines ─▶ redacted, filtered ─┐
//! source …                                                                     ├─▶ LogStream: merged by time
//! source …                                                                    ─┘
//! ```
//!
//! A source holds a few batches and then waits, so a slow reader costs bounded memory and no service waits for
//! it: what is rotated away meanwhile is counted as a gap.

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
    /// Also those to come, over restarts.
    pub follow: bool,
    /// Only the last so many of those that are there, of all services together.
    pub tail: Option<u64>,
    /// Only those at or after this.
    pub since: Option<WallTime>,
    /// Only those before this.
    pub until: Option<WallTime>,
    /// Only those in which this is found, secrets being hidden already.
    pub grep: Option<LogMatcher>,
}

/// A line of a service, secrets hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLine {
    /// When its first byte was read from the service.
    pub time: WallTime,
    /// Who wrote it.
    pub service: ServiceName,
    /// Which of its starts.
    pub generation: u64,
    /// Whether it came from stderr.
    pub stderr: bool,
    /// Whether the line does not end here.
    pub partial: bool,
    /// Whether it goes on with the one before it of the same stream and start.
    pub continues: bool,
    /// The bytes without the line end.
    pub text: Vec<u8>,
}

/// What a [`LogStream`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogItem {
    /// A line.
    Line(ServiceLine),
    /// Output is missing here: rotated away, dropped on a full disk, or damaged.
    Gap {
        /// Whose.
        service: ServiceName,
        /// How many lines; 0 when only a part of one is.
        lines: u64,
    },
}

/// Output that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the output of {service}, generation {generation}")]
pub struct LogsError {
    /// Whose.
    pub service: ServiceName,
    /// Of which start.
    pub generation: u64,
    /// Why.
    #[source]
    pub source: FollowError,
}

/// Hides the secrets of a project as they are at the moment of the call.
pub type Redactors = Arc<dyn Fn() -> Arc<Redactor> + Send + Sync>;

/// What the sources of one stream share.
struct Shared {
    layout: Layout,
    changes: Changes,
    project: ProjectName,
    query: LogQuery,
    redactors: Redactors,
    /// When it was asked for: what is written before is there, what is written later is to come.
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
    /// Services that are registered later belong to it too.
    newcomers: Option<Subscription>,
}

/// The output of these services as the query wants it, and the future that reads it: to be polled as long as the
/// stream is read. With `newcomers`, services of the project that are registered later come in too.
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
    /// What comes next, up to about `max_bytes` of text; waits only when there is nothing yet. `None` when
    /// everything was told. Cancelling the future loses nothing.
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

/// The next service of the project that is registered; never, without a subscription.
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
