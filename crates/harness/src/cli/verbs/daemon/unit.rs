//! `daemon install`: print a systemd unit, which the user then installs.

use std::path::Path;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let cli = std::env::current_exe().map_err(CliError::io("find", "this program"))?;
    let daemon = cli.with_file_name("harness-executor-daemon");
    let home = context.home()?;
    let unit = unit(&daemon, home.path(), context.globals.port);
    if context.ui.json {
        context.ui.out_json_pretty(&json!({ "unit": unit }))?;
    } else {
        context.ui.out_exact(&unit)?;
    }
    Ok(Exit::Ok)
}

fn unit(daemon: &Path, home: &Path, port: Option<u16>) -> String {
    let port = port
        .map(|port| format!("Environment=HARNESS_PORT={port}\n"))
        .unwrap_or_default();
    let (daemon, home) = (daemon.display(), home.display());
    format!(
        "\
# harness as a service of your user. Install it with:
#
#   harness daemon install > ~/.config/systemd/user/harness.service
#   systemctl --user daemon-reload
#   systemctl --user enable --now harness
#
# linger: without it systemd ends everything of yours when you log out, and starts nothing at boot.
# Turn it on once with:  loginctl enable-linger
#
# KillUserProcesses=yes in /etc/systemd/logind.conf ends, at logout, daemons that were started by hand from that
# session, and their services with them. A daemon started by this unit, with linger on, is not of a session.
[Unit]
Description=harness: services described in a YAML file
Documentation=man:systemd.service(5)
After=network.target

[Service]
ExecStart=\"{daemon}\"
Environment=\"HARNESS_HOME={home}\"
{port}# Only the daemon itself is stopped and restarted: its services keep running, and the next daemon takes them over.
KillMode=process
Restart=on-failure
# Services have their own cgroups below this one.
Delegate=yes
LimitNOFILE=65536

[Install]
WantedBy=default.target
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_leaves_services_running() {
        let unit = unit(
            Path::new("/usr/bin/harness-executor-daemon"),
            Path::new("/home/me/h"),
            Some(9444),
        );
        for line in [
            "ExecStart=\"/usr/bin/harness-executor-daemon\"",
            "Environment=\"HARNESS_HOME=/home/me/h\"",
            "Environment=HARNESS_PORT=9444",
            "KillMode=process",
        ] {
            assert!(unit.lines().any(|l| l == line), "{line} is not in\n{unit}");
        }
        assert!(unit.contains("loginctl enable-linger") && unit.contains("KillUserProcesses"));
    }
}
