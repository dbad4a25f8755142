//! Text for people.

use std::time::Duration;

use harness_model::spec::Condition;

use super::types::{Ended, Hook};

/// A duration in short form: `4ms`, `0.2s`, `4.1s`, `75s`, `12m`.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration < Duration::from_millis(100) => format!("{}ms", duration.as_millis()),
        0..10 => {
            let text = format!("{:.1}", duration.as_secs_f64());
            format!("{}s", text.strip_suffix(".0").unwrap_or(&text))
        }
        10..600 => format!("{seconds}s"),
        _ => format!("{}m", seconds / 60),
    }
}

/// How it ended: `exited 3`, `its supervisor died`.
pub(super) fn ended(ended: &Ended) -> String {
    match ended {
        Ended::Exit(status) => status.to_string(),
        Ended::OutOfMemory(status) => format!("{status}: out of memory (its limit was reached)"),
        Ended::Background { exit, .. } => format!("{exit} and went into the background"),
        Ended::SupervisorDied => "its supervisor died".into(),
        Ended::Unsupervised(status) => format!("its supervisor died, and it {status}"),
        Ended::Rebooted => "the machine was rebooted".into(),
        Ended::Lost(why) => format!("lost: {why}"),
    }
}

/// What to do about an end, if that is known.
pub(super) fn remedy(ended: &Ended) -> Option<String> {
    let Ended::Background { program, .. } = ended else {
        return None;
    };
    let how = match FOREGROUND.iter().find(|(name, _)| name == program) {
        Some((_, how)) => format!("run it in the foreground: {how}"),
        None => {
            "run it in the foreground: look for an option like `--foreground` or `--no-daemon`".to_owned()
        }
    };
    Some(format!("{program} was stopped with it; {how}"))
}

/// How programs are run in the foreground that go into the background by themselves, by the names the kernel has for
/// their processes (15 bytes at most).
const FOREGROUND: &[(&str, &str)] = &[
    ("nginx", "`nginx -g 'daemon off;'`"),
    ("redis-server", "`redis-server --daemonize no`"),
    ("valkey-server", "`valkey-server --daemonize no`"),
    ("httpd", "`httpd -D FOREGROUND`"),
    ("apache2", "`apache2ctl -D FOREGROUND`"),
    ("php-fpm", "`php-fpm --nodaemonize`"),
    ("sshd", "`sshd -D`"),
    ("mongod", "`mongod` without `--fork`"),
    ("mysqld", "`mysqld` without `--daemonize`"),
    ("mariadbd", "`mariadbd` itself"),
    ("postgres", "`postgres` itself, not `pg_ctl start`"),
    ("memcached", "`memcached` without `-d`"),
    ("haproxy", "`haproxy -db`"),
    ("dnsmasq", "`dnsmasq --keep-in-foreground`"),
    ("cron", "`cron -f`"),
    ("crond", "`crond -n`"),
    ("rsyslogd", "`rsyslogd -n`"),
    ("supervisord", "`supervisord --nodaemon`"),
    ("gunicorn", "`gunicorn` without `--daemon`"),
    ("uwsgi", "`uwsgi` without `--daemonize`"),
    ("dockerd", "`dockerd` itself"),
    ("squid", "`squid --foreground`"),
    ("varnishd", "`varnishd -F`"),
    ("ssh-agent", "`ssh-agent -D`"),
    ("gpg-agent", "`gpg-agent --supervised`"),
    ("chronyd", "`chronyd -d`"),
];

/// What did not happen: `did not become healthy`, `did not log /ready/`.
pub(super) fn unmet(condition: &Condition) -> String {
    match condition {
        Condition::None => "is not there".into(),
        Condition::Started => "did not start".into(),
        Condition::Ready => "did not become ready".into(),
        Condition::Healthy => "did not become healthy".into(),
        Condition::Completed => "did not complete".into(),
        Condition::Log(pattern) => format!("did not log /{pattern}/"),
    }
}

/// Whether an end counts as success. A service may exit 0 only because its supervisor died and its streams were
/// closed. For a one-shot, exit 0 says that its work is done.
pub(super) fn succeeded(ended: &Ended, oneshot: bool) -> bool {
    match ended {
        Ended::Exit(status) => status.success(),
        Ended::Unsupervised(status) => oneshot && status.success(),
        // The work of a one-shot is done whatever it leaves, as a build does that starts a helper.
        Ended::Background { exit, .. } => oneshot && exit.success(),
        Ended::OutOfMemory(_) | Ended::SupervisorDied | Ended::Rebooted | Ended::Lost(_) => false,
    }
}

/// The key of a hook in a file.
pub(crate) fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::BeforeStart => "before_start",
        Hook::AfterHealthy => "after_healthy",
        Hook::BeforeStop => "before_stop",
        Hook::AfterStop => "after_stop",
    }
}
