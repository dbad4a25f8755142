//! The table of services.

use comfy_table::{ContentLineStyle, LineStyle, Row, Table, TableStyle};
use harness_model::{Health, ServiceState};
use harness_wire::message::{PortView, ServiceView};

use super::{Style, age};
use crate::cli::ui::Ui;

const BOX: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

const STATUS: usize = 1;
const HEALTH: usize = 2;

/// The services as a table: in a box if it fits into `room` columns of a terminal, else as plain columns. `verbose`
/// adds ports and pids. Problems are listed below the table, one line each.
pub(crate) fn table(
    services: &[ServiceView],
    room: Option<usize>,
    verbose: bool,
    ui: &Ui,
    style: &Style,
) -> String {
    let mut header = vec!["Service", "Status", "Health", "Network", "Host", "Uptime"];
    if verbose {
        header.extend(["PID", "Restarts", "Ports"]);
    }
    let rows: Vec<Vec<String>> = services.iter().map(|view| row(view, verbose)).collect();
    let mut out = room
        .and_then(|room| in_box(&header, &rows, room, style))
        .unwrap_or_else(|| columns(&header, &rows));
    for view in services {
        out.push_str(&remark(view, style));
    }
    let stale: Vec<_> = services
        .iter()
        .filter(|view| !view.in_file)
        .map(|view| &view.name)
        .collect();
    if !stale.is_empty() {
        let remedy = ui.command("start --prune");
        out.push_str(&format!(
            "not in file: {}  ({remedy} stops them)\n",
            super::list(stale)
        ));
    }
    out
}

fn row(view: &ServiceView, verbose: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let mut row = vec![
        view.name.to_string(),
        view.status.to_string(),
        health(view.health),
        view.network.clone(),
        view.host.to_string(),
        view.uptime_s.map_or_else(dash, age),
    ];
    if verbose {
        row.push(view.pid.map_or_else(dash, |pid| pid.to_string()));
        row.push(view.restarts.to_string());
        row.push(if view.ports.is_empty() {
            dash()
        } else {
            super::list(view.ports.iter().map(port))
        });
    }
    row
}

/// `✓ healthy`, `✗ unhealthy`, `· none`.
fn health(health: Health) -> String {
    let mark = match health {
        Health::Healthy => "✓",
        Health::Unhealthy => "✗",
        Health::None | Health::Starting | Health::Unknown => "·",
    };
    format!("{mark} {health}")
}

/// `127.0.0.1:5432`, with its name and the port inside the container if it has them.
pub(crate) fn port(port: &PortView) -> String {
    let mut out = match &port.name {
        Some(name) => format!("{name}={}:{}", port.host_ip, port.port),
        None => format!("{}:{}", port.host_ip, port.port),
    };
    if let Some(target) = port.target.filter(|target| *target != port.port) {
        out.push_str(&format!("->{target}"));
    }
    if port.protocol == harness_model::spec::Protocol::Udp {
        out.push_str("/udp");
    }
    out
}

fn remark(view: &ServiceView, style: &Style) -> String {
    let mut words = Vec::new();
    words.extend(view.error.as_ref().map(ToString::to_string));
    if let Some(seconds) = view.retry_in_s {
        let left = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        words.push(format!("again in {}", super::seconds(left)));
    }
    if words.is_empty() {
        return String::new();
    }
    let mark = match view.status {
        ServiceState::Restarting | ServiceState::Starting | ServiceState::Pending => style.middling("!"),
        _ => style.bad("✗"),
    };
    format!("{mark} {}: {}\n", view.name, words.join("; "))
}

/// `None` if the box is wider than `room`, because a terminal would break its lines.
fn in_box(header: &[&str], rows: &[Vec<String>], room: usize, style: &Style) -> Option<String> {
    let mut table = Table::new();
    table.load_style(BOX);
    table.set_header(Row::from(header.to_vec()));
    for row in rows {
        table.add_row(Row::from(row.clone()));
    }
    let mut out = String::new();
    for line in table.lines() {
        if line.chars().count() > room {
            return None;
        }
        out.push_str(&coloured(&line, style));
        out.push('\n');
    }
    Some(out)
}

/// Colours the status and health cells of a finished line. The table counts characters, so colours must come after.
fn coloured(line: &str, style: &Style) -> String {
    let mut cells: Vec<String> = line.split('│').map(str::to_owned).collect();
    for index in [STATUS + 1, HEALTH + 1] {
        if let Some(cell) = cells.get_mut(index) {
            *cell = painted(cell, style);
        }
    }
    cells.join("│")
}

fn painted(cell: &str, style: &Style) -> String {
    let word = cell.trim();
    let paint: fn(Style, &str) -> String = match word.trim_start_matches(['✓', '✗', '·']).trim_start() {
        "running" | "completed" | "healthy" => |style, text| style.good(text),
        "failed" | "unhealthy" => |style, text| style.bad(text),
        "starting" | "restarting" | "stopping" | "unknown" => |style, text| style.middling(text),
        "pending" | "stopped" | "none" => |style, text| style.dim(text),
        _ => return cell.to_owned(),
    };
    cell.replacen(word, &paint(*style, word), 1)
}

/// The table without a box: columns two spaces apart, for `grep` and `awk`.
pub(super) fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|cell| cell.to_uppercase()).collect();
    let lines = || std::iter::once(&header).chain(rows);
    let width = |index: usize| lines().map(|row| row[index].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    for row in lines() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::view;

    fn services() -> Vec<ServiceView> {
        let mut api = view("my-api");
        api.status = ServiceState::Restarting;
        api.health = Health::None;
        (api.pid, api.uptime_s) = (None, None);
        (api.error, api.retry_in_s) = (Some("exited 3 after 0.2s".into()), Some(0.4));
        let mut old = view("old");
        old.in_file = false;
        vec![view("database"), api, old]
    }

    #[test]
    fn on_a_terminal_it_is_a_box() {
        assert_eq!(
            table(&services(), Some(80), false, &Ui::plain(), &Style::new(false)),
            "\
┌──────────┬────────────┬───────────┬─────────┬───────────┬────────┐
│ Service  │ Status     │ Health    │ Network │ Host      │ Uptime │
├──────────┼────────────┼───────────┼─────────┼───────────┼────────┤
│ database │ running    │ ✓ healthy │ local   │ localhost │ 2h 15m │
│ my-api   │ restarting │ · none    │ local   │ localhost │ -      │
│ old      │ running    │ ✓ healthy │ local   │ localhost │ 2h 15m │
└──────────┴────────────┴───────────┴─────────┴───────────┴────────┘
! my-api: exited 3 after 0.2s; again in 0.4s
not in file: old  (harness start --prune stops them)
"
        );
    }

    #[test]
    fn a_box_that_would_be_broken_is_left_out() {
        let table = |room| table(&services(), Some(room), false, &Ui::plain(), &Style::new(false));
        assert!(table(68).starts_with('┌'));
        assert!(table(67).starts_with("SERVICE "), "{}", table(67));
    }

    #[test]
    fn elsewhere_it_is_columns() {
        assert_eq!(
            table(&services()[..1], None, true, &Ui::plain(), &Style::new(false)),
            "SERVICE   STATUS   HEALTH     NETWORK  HOST       UPTIME  PID   RESTARTS  PORTS\n\
             database  running  ✓ healthy  local    localhost  2h 15m  4130  0         127.0.0.1:5432\n"
        );
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let plain = table(&services(), Some(80), false, &Ui::plain(), &Style::new(false));
        let coloured = table(&services(), Some(80), false, &Ui::plain(), &Style::new(true));
        assert!(coloured.contains("\u{1b}[32m✓ healthy\u{1b}[0m"), "{coloured}");
        let mut stripped = String::new();
        let mut rest = coloured.as_str();
        while let Some(at) = rest.find('\u{1b}') {
            stripped.push_str(&rest[..at]);
            rest = &rest[at..];
            rest = &rest[rest.find('m').unwrap() + 1..];
        }
        stripped.push_str(rest);
        assert_eq!(stripped, plain);
    }
}
