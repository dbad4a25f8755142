//! The services of a recorded home: one for each state in which the next version may find a service. A later scene
//! may have more of them; those here were recorded by all versions.

/// A service, and its expected state.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// `STATUS/HEALTH` when it was recorded.
    pub(crate) when: &'static str,
    /// How today's version finds it after a reboot.
    pub(crate) after: After,
}

/// How a service is found after a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// As `status` showed it when it was recorded.
    AsItWas,
    /// It is stopped, and the reboot is the reason.
    Rebooted,
    /// It still waits, because the reboot stopped its dependency.
    Waits,
    /// It reaches this state by itself.
    RunsAgain(&'static str),
}

impl Service {
    const fn new(name: &'static str, when: &'static str, after: After) -> Self {
        Self { name, when, after }
    }

    /// Whether it has a run directory.
    pub(crate) fn was_launched(&self) -> bool {
        !self.when.starts_with("pending")
    }
}

/// All of them.
pub(crate) const SERVICES: [Service; 12] = [
    Service::new("settings", "completed/none", After::AsItWas),
    Service::new("database", "running/healthy", After::RunsAgain("running/healthy")),
    Service::new("web", "running/healthy", After::RunsAgain("running/healthy")),
    Service::new("plain", "running/none", After::Rebooted),
    Service::new("fails", "failed/none", After::AsItWas),
    Service::new("killed", "failed/none", After::AsItWas),
    Service::new("gives-up", "failed/none", After::AsItWas),
    Service::new("rests", "stopped/none", After::AsItWas),
    Service::new("sick", "failed/none", After::AsItWas),
    Service::new("begins", "starting/starting", After::Rebooted),
    Service::new("waits", "pending/none", After::Waits),
    Service::new("ends", "stopping/none", After::Rebooted),
];

/// The file of the project.
pub(crate) const FILE: &str = r#"
version: "1.0"
name: recorded
services:
  settings:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'echo x >> settings.ran; echo "settings are there"']
  database:
    type: process
    binary: sh
    args: [-c, 'echo "database is up"; printf "db> "; exec sleep 1000']
    tty: true
    stdin: true
    restart: always
    health_check: {command: "true"}
  web:
    type: process
    binary: sh
    args:
      - -c
      - >-
        i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo "line $i of many that are written"; done;
        echo "token $API_TOKEN" >&2; echo "web is up"; printf "no end of this line"; exec sleep 1000
    restart: unless-stopped
    dependencies: [settings, database]
    env: {API_TOKEN: hush-hush-hush, GREETING: "good day"}
    files: [{template: web.template, target: web.conf}]
    logs: {max_size: 64KiB, max_files: 2}
    health_check: {log: "web is up"}
    hooks:
      before_start: [sh, -c, 'echo before_start >> hooks.ran']
      after_healthy: [sh, -c, 'echo after_healthy >> hooks.ran']
      before_stop: [sh, -c, 'echo before_stop >> hooks.ran']
      after_stop: [sh, -c, 'echo after_stop >> hooks.ran']
  plain:
    type: process
    binary: sleep
    args: [1000]
  fails:
    type: process
    binary: sh
    args: [-c, 'echo "cannot go on" >&2; sleep 0.5; exit 3']
  killed:
    type: process
    binary: sh
    args: [-c, 'echo "about to be killed"; sleep 0.5; kill -9 $$$$']
  gives-up:
    type: process
    binary: sh
    args: [-c, 'echo "once more"; exit 5']
    restart: on-failure
    max_restarts: 2
  rests:
    type: process
    binary: sh
    args: [-c, 'echo "resting soon"; exec sleep 1000']
  sick:
    type: process
    binary: sleep
    args: [1000]
    startup_timeout: 1
    health_check: {command: "false"}
  begins:
    type: process
    binary: sleep
    args: [1000]
    startup_timeout: 1h
    health_check: {command: "false"}
  waits:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [begins]
  ends:
    type: process
    binary: sh
    args: [-c, 'trap "echo told to end" TERM; echo "ends slowly"; while :; do sleep 1000 & wait; done']
    shutdown_timeout: 1h
"#;

/// The file of the other project, which is named after its folder.
pub(crate) const OTHER: &str = r#"
version: "1.0"
services:
  echo:
    type: process
    binary: sh
    args: [-c, 'echo "an echo on $HARNESS_STOPPED_PORT"']
    oneshot: true
    profiles: [loud]
    dependencies: [{service: stopped, condition: none}]
  stopped:
    type: process
    binary: sleep
    args: [1000]
    ports: {main: 0}
"#;
