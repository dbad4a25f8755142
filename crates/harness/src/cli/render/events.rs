//! Change events, one line each.

use harness_wire::message::ChangeEvent;
use jiff::tz::TimeZone;

use super::{NAME_WIDTH, Style, clock};

/// `Nov 14 22:13:20 api exited 3 after 0.2s`; with the project in front if several are shown.
pub(crate) fn line(event: &ChangeEvent, with_project: bool, zone: &TimeZone, style: &Style) -> String {
    let mut who = event
        .service
        .as_ref()
        .map_or("project", |service| service.as_str())
        .to_owned();
    if with_project {
        who = format!("{}/{who}", event.project);
    }
    let time = clock(event.time, zone);
    format!("{}  {who:<NAME_WIDTH$}  {}\n", style.dim(&time), event.message)
}
