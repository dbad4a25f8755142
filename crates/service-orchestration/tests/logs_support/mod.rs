//! Services with real logs: some run under a real shim, others are written record by record with chosen times.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use command_executor::supervised::{LaunchSpec, LogLimits, Stdin};
use command_executor::{Generation, Host, Local};
use harness_model::{ProjectName, Redactor, SecretString, ServiceName, WallTime};
use harness_shim::log::{Stream, Writer};
use harness_shim::run_dir::RunDir;
use service_orchestration::layout::Layout;
use service_orchestration::logs::{self, LogItem, LogQuery, LogStream, ServiceLine};
use service_registry::{ChangeKind, Changes};

/// Far longer than anything here takes, but still a limit.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The secret of the project.
pub(crate) const SECRET: &str = "correct-horse";

/// Hides it.
pub(crate) fn redactor() -> Redactor {
    Redactor::new(&[SecretString::new(SECRET)])
}

/// The output of a script may fill a few segments of this size.
pub(crate) const ROOMY: LogLimits = LogLimits {
    max_size: 64 << 20,
    max_files: 5,
};

pub(crate) struct Lab {
    _dir: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) changes: Changes,
    pub(crate) project: ProjectName,
    launched: Mutex<Vec<Arc<dyn Generation>>>,
}

/// A test that fails must not leave anything running either.
impl Drop for Lab {
    fn drop(&mut self) {
        for service in self.launched.lock().unwrap().drain(..) {
            block_on(service.kill()).unwrap();
            block_on(service.wait()).unwrap();
        }
    }
}

pub(crate) fn name(service: &str) -> ServiceName {
    ServiceName::new(service).unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(smol::future::or(future, async {
        smol::Timer::after(DEADLINE).await;
        panic!("not done within {DEADLINE:?}")
    }))
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            layout: Layout::new(dir.path()),
            _dir: dir,
            changes: Changes::new(),
            project: ProjectName::new("lab").unwrap(),
            launched: Mutex::default(),
        }
    }

    pub(crate) fn run_dir(&self, service: &str, generation: u64) -> PathBuf {
        self.layout.generation(&self.project, &name(service), generation)
    }

    /// Publishes what the actor publishes when something about a service has changed.
    pub(crate) fn publish(&self, service: &str, kind: ChangeKind) {
        self.changes
            .publish(self.project.clone(), Some(name(service)), kind, "changed", None);
    }

    /// Launches a script as the actor does, with a notification before and after.
    pub(crate) async fn launch(
        &self,
        service: &str,
        generation: u64,
        script: &str,
        log: LogLimits,
    ) -> Arc<dyn Generation> {
        self.publish(service, ChangeKind::State);
        let run_dir = self.run_dir(service, generation);
        let mut spec = LaunchSpec::new("/bin/sh", "/", format!("test-{}", run_dir.display()));
        spec.args = vec!["-c".into(), script.into()];
        spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        spec.stdin = Stdin::Keep;
        spec.log = log;
        let generation = host().launch(run_dir, spec).await.unwrap();
        self.launched.lock().unwrap().push(Arc::clone(&generation));
        self.publish(service, ChangeKind::State);
        generation
    }

    /// Launches a script and waits for its end.
    pub(crate) async fn run(&self, service: &str, generation: u64, script: &str, log: LogLimits) {
        self.launch(service, generation, script, log)
            .await
            .wait()
            .await
            .unwrap();
        self.publish(service, ChangeKind::State);
    }

    /// Writes a generation with these records: time, stream, bytes.
    pub(crate) fn write(&self, service: &str, generation: u64, records: &[(u64, Stream, &str)]) {
        let run_dir = RunDir::create(self.run_dir(service, generation)).unwrap();
        let lock = run_dir.take_lock().unwrap();
        let mut log = Writer::open(run_dir.log_dir(), ROOMY, 0).unwrap();
        for (time, stream, bytes) in records {
            log.append(*stream, bytes.as_bytes(), *time);
        }
        drop(lock);
    }

    /// The same, with lines of stdout.
    pub(crate) fn write_lines(&self, service: &str, generation: u64, lines: &[(u64, &str)]) {
        let lines: Vec<_> = lines
            .iter()
            .map(|(time, line)| (*time, format!("{line}\n")))
            .collect();
        let records: Vec<_> = lines
            .iter()
            .map(|(time, line)| (*time, Stream::Stdout, line.as_str()))
            .collect();
        self.write(service, generation, &records);
    }

    pub(crate) fn open(&self, services: &[&str], query: LogQuery) -> Reading {
        self.open_with(services, false, query)
    }

    pub(crate) fn open_with(&self, services: &[&str], newcomers: bool, query: LogQuery) -> Reading {
        let (stream, driver) = logs::open(
            self.layout.clone(),
            &self.changes,
            self.project.clone(),
            services.iter().map(|service| name(service)),
            newcomers,
            query,
            Arc::new(|| Arc::new(redactor())),
        );
        Reading {
            stream,
            _driver: smol::spawn(driver),
            items: Vec::new(),
        }
    }

    /// Everything that a query without `follow` finds, each line as `service text`.
    pub(crate) fn read(&self, services: &[&str], query: LogQuery) -> Vec<String> {
        let mut reading = self.open(services, query);
        block_on(reading.rest());
        reading.texts()
    }
}

/// A stream that is being read, and what was read from it.
pub(crate) struct Reading {
    stream: LogStream,
    _driver: smol::Task<()>,
    pub(crate) items: Vec<LogItem>,
}

impl Reading {
    /// Reads the next batch; `false` at the end.
    pub(crate) async fn more(&mut self) -> bool {
        let items = self.stream.next(64 << 10).await.unwrap();
        let more = items.is_some();
        self.items.extend(items.into_iter().flatten());
        more
    }

    /// Reads to the end.
    pub(crate) async fn rest(&mut self) {
        while self.more().await {}
    }

    /// Reads until there are this many lines.
    pub(crate) async fn until_lines(&mut self, count: usize) {
        while self.lines().count() < count {
            assert!(self.more().await, "ended after {} lines", self.lines().count());
        }
    }

    /// Gives the stream time to return something that it should not.
    pub(crate) async fn nothing_comes(&mut self) {
        let quiet = async {
            smol::Timer::after(Duration::from_millis(30)).await;
            None
        };
        let came = smol::future::or(async { Some(self.stream.next(64 << 10).await.unwrap()) }, quiet).await;
        assert!(came.is_none(), "{came:?}");
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &ServiceLine> {
        self.items.iter().filter_map(|item| match item {
            LogItem::Line(line) => Some(line),
            LogItem::Gap { .. } => None,
        })
    }

    pub(crate) fn missing(&self) -> u64 {
        self.items
            .iter()
            .map(|item| match item {
                LogItem::Line(_) => 0,
                LogItem::Gap { lines, .. } => *lines,
            })
            .sum()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.lines()
            .map(|line| format!("{} {}", line.service, String::from_utf8_lossy(&line.text)))
            .collect()
    }

    /// The lines as numbers.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.lines()
            .map(|line| std::str::from_utf8(&line.text).unwrap().parse().unwrap())
            .collect()
    }
}

pub(crate) fn follow() -> LogQuery {
    LogQuery {
        follow: true,
        ..LogQuery::default()
    }
}

pub(crate) fn now() -> u64 {
    WallTime::now().0
}

/// The real shim, built as an example of this crate.
fn host() -> Local {
    let me = std::env::current_exe().unwrap();
    let shim = me
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/orchestration_shim");
    assert!(
        shim.exists(),
        "{} is missing: cargo build --examples",
        shim.display()
    );
    Local::new(shim, std::path::Path::new("/no/home"))
}
