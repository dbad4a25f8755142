//! `daemon start|stop|restart|status|logs|install`.

mod log;
mod stop;
mod unit;

use std::time::Duration;

use harness_model::WallTime;
use harness_model::foreign::shown;
use harness_wire::message::{DaemonStatus, Request, Response};
use serde_json::json;

use crate::cli::args::{DaemonStopArgs, DaemonVerb};
use crate::cli::backend::{self, StartOptions};
use crate::cli::context::{Autostart, Context, Daemon};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{age, count, path, with_instants};

pub(crate) async fn run(context: &Context, verb: DaemonVerb) -> Result<Exit, CliError> {
    match verb {
        DaemonVerb::Start => start(context).await,
        DaemonVerb::Stop(args) => stop(context, args).await,
        DaemonVerb::Restart => restart(context).await,
        DaemonVerb::Status => status(context).await,
        DaemonVerb::Logs(args) => log::run(context, &args).await,
        DaemonVerb::Install => unit::run(context),
    }
}

/// A connection, or `None` when no daemon runs.
async fn running(context: &Context) -> Result<Option<Daemon>, CliError> {
    match context.connect(Autostart::No).await {
        Ok(session) => Ok(Some(session)),
        Err(error) if error.is_not_running() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn start(context: &Context) -> Result<Exit, CliError> {
    if let Some(session) = running(context).await? {
        let daemon = &session.info;
        let words = format!("runs already (pid {}, port {})", daemon.pid, daemon.port);
        return told(context, &words, daemon.pid, daemon.port);
    }
    let options = StartOptions {
        port: context.globals.port,
        ..StartOptions::default()
    };
    let daemon = backend::start_daemon(&context.home()?, options).await?;
    let words = format!("started (pid {}, port {})", daemon.pid, daemon.port);
    told(context, &words, daemon.pid, daemon.port)
}

fn told(context: &Context, words: &str, pid: u32, port: u16) -> Result<Exit, CliError> {
    context.ui.say(&format!("daemon {words}\n"))?;
    if context.ui.json {
        context
            .ui
            .out_json_pretty(&json!({ "running": true, "pid": pid, "port": port }))?;
    }
    Ok(Exit::Ok)
}

async fn stop(context: &Context, args: DaemonStopArgs) -> Result<Exit, CliError> {
    if args.services {
        return stop::with_services(context).await;
    }
    let Some(session) = running(context).await? else {
        context.ui.say("no daemon runs\n")?;
        return stop::ended(context, &json!({ "services_up": 0 }));
    };
    let up = services_up(&session).await?;
    backend::stop_daemon(&context.home()?, &session, false).await?;
    let words = match up {
        0 => "daemon stopped\n".to_owned(),
        up => format!(
            "daemon stopped; {} left running\n  next: harness daemon start takes over again · \
             harness daemon stop --services stops everything\n",
            count(up, "service")
        ),
    };
    context.ui.say(&words)?;
    stop::ended(context, &json!({ "services_up": up }))
}

async fn services_up(session: &Daemon) -> Result<usize, CliError> {
    let status = ask(session).await?;
    Ok(status.projects.iter().map(|project| project.up as usize).sum())
}

async fn ask(session: &Daemon) -> Result<DaemonStatus, CliError> {
    match session.answer(Request::DaemonStatus {}).await? {
        Response::DaemonStatus(status) => Ok(status),
        _ => Err(CliError::Unexpected {
            verb: "daemon status",
        }),
    }
}

async fn restart(context: &Context) -> Result<Exit, CliError> {
    let home = context.home()?;
    let Some(session) = running(context).await? else {
        return start(context).await;
    };
    let before = services_up(&session).await?;
    // Keep the port that clients know, unless another one is given.
    let port = context.globals.port.unwrap_or(session.info.port);
    let daemon = backend::replace_daemon(&home, &session, port).await?;
    let up = match running(context).await? {
        Some(session) => services_up(&session).await?,
        None => 0,
    };
    let ran_on = match before {
        0 => String::new(),
        before if up == before => format!("; {} kept running", count(up, "service")),
        before => format!("; {up} of {} are up (harness status)", count(before, "service")),
    };
    let words = format!("restarted (pid {}, port {}){ran_on}", daemon.pid, daemon.port);
    told(context, &words, daemon.pid, daemon.port)
}

async fn status(context: &Context) -> Result<Exit, CliError> {
    let Some(session) = running(context).await? else {
        let home = context.home()?.path().to_owned();
        return Err(CliError::DaemonNotRunning { home });
    };
    let status = ask(&session).await?;
    if context.ui.json {
        let mut value = with_instants(&status);
        value["running"] = true.into();
        context.ui.out_json_pretty(&value)?;
    } else {
        context.ui.out(&words(&status, WallTime::now()))?;
    }
    Ok(Exit::Ok)
}

fn words(status: &DaemonStatus, now: WallTime) -> String {
    let up = now.since(status.started_at).as_secs();
    let mut out = format!(
        "running   pid {}, port {}, version {}, up {}\nhome      {}\ntls       certificate {}\n",
        status.pid,
        status.port,
        shown(&status.version),
        age(up),
        path(&status.home),
        certificate(status.certificate_expires_at, now),
    );
    for store in &status.damaged_stores {
        let store = path(store);
        out.push_str(&format!(
            "damaged   {store}, a damaged store that was set aside; what was only in it is lost (harness doctor)\n"
        ));
    }
    for project in &status.projects {
        let (name, source) = (&project.name, path(&project.source));
        out.push_str(&format!(
            "project   {name}: {} of {} up  ({source})\n",
            project.up, project.services
        ));
    }
    out
}

fn certificate(expires: WallTime, now: WallTime) -> String {
    if expires <= now {
        return "has expired (harness daemon restart renews it)".to_owned();
    }
    let left: Duration = expires.since(now);
    format!("valid for {}", age(left.as_secs()))
}

#[cfg(test)]
mod tests {
    use harness_model::ProjectName;
    use harness_wire::message::ProjectSummary;

    use super::*;

    #[test]
    fn a_daemon_tells_about_itself() {
        let day = 86_400_000_000_000;
        let status = DaemonStatus {
            pid: 7,
            port: 9443,
            version: "0.1.0".into(),
            home: "/h".into(),
            started_at: WallTime(10 * day),
            certificate_expires_at: WallTime(20 * day),
            damaged_stores: Vec::new(),
            projects: vec![ProjectSummary {
                name: ProjectName::new("shop").unwrap(),
                source: "/src/services.yaml".into(),
                services: 5,
                up: 4,
                state: harness_wire::message::ProjectState::Partly,
            }],
        };
        assert_eq!(
            words(&status, WallTime(11 * day)),
            "running   pid 7, port 9443, version 0.1.0, up 1d\nhome      /h\ntls       certificate valid for 9d\n\
             project   shop: 4 of 5 up  (/src/services.yaml)\n"
        );
        assert!(words(&status, WallTime(21 * day)).contains("has expired"));
        let status = DaemonStatus {
            damaged_stores: vec!["/h/state.damaged-9".into()],
            ..status
        };
        assert!(words(&status, WallTime(11 * day)).contains("\ndamaged   /h/state.damaged-9, "));
    }
}
