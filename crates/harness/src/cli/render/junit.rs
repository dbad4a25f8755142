//! A start as a JUnit report for the dashboards of CI. Each service is a test case.

use std::time::Duration;

use harness_wire::message::{Failure, ServiceOutcome, StartReport};

use super::failure::WROTE_NOTHING;

/// The report as XML.
pub(crate) fn xml(report: &StartReport) -> String {
    let mut cases = String::new();
    let mut skipped = 0;
    for outcome in &report.services {
        let name = escape(outcome.view.name.as_str());
        let time = seconds(outcome.ready_after_ms.unwrap_or(0));
        let open = format!(
            "    <testcase classname=\"{}\" name=\"{name}\" time=\"{time}\"",
            escape(report.project.as_str())
        );
        let failure = report
            .failures
            .iter()
            .find(|failure| failure.service == outcome.view.name);
        match (failure, outcome.ready) {
            (Some(failure), _) => cases.push_str(&format!("{open}>\n{}    </testcase>\n", failed(failure))),
            (None, true) => cases.push_str(&format!("{open}/>\n")),
            (None, false) => {
                skipped += 1;
                let why = escape(&blocked(report, outcome));
                cases.push_str(&format!(
                    "{open}>\n      <skipped message=\"{why}\"/>\n    </testcase>\n"
                ));
            }
        }
    }
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\"",
        report.services.len(),
        report.failures.len(),
        seconds(report.elapsed_ms)
    );
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites {totals}>\n  <testsuite name=\"harness start {}\" {totals}>\n{cases}  </testsuite>\n</testsuites>\n",
        escape(report.project.as_str())
    )
}

fn failed(failure: &Failure) -> String {
    let mut text = String::new();
    if let Some(probe) = &failure.last_probe {
        text.push_str(&format!("last probe: {probe}\n"));
    }
    for line in &failure.last_lines {
        text.push_str(&format!("{line}\n"));
    }
    if failure.wrote_nothing {
        text.push_str(&format!("{WROTE_NOTHING}\n"));
    }
    format!(
        "      <failure message=\"{}\">{}</failure>\n",
        escape(&failure.reason.to_string()),
        escape(&text)
    )
}

fn blocked(report: &StartReport, outcome: &ServiceOutcome) -> String {
    let name = &outcome.view.name;
    match report
        .failures
        .iter()
        .find(|failure| failure.blocked.contains(name))
    {
        Some(failure) => format!("blocked by {}", failure.service),
        None => format!("not ready: {}", outcome.view.status),
    }
}

fn seconds(millis: u64) -> String {
    format!("{:.3}", Duration::from_millis(millis).as_secs_f64())
}

/// Escapes text for attributes and elements. XML allows no control characters, not even escaped ones. Those in text
/// from outside have been made visible already.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use harness_model::{ProjectName, ServiceName, ServiceState};
    use harness_wire::message::Change;

    use super::*;
    use crate::cli::testing::view;

    #[test]
    fn every_service_is_a_case() {
        let outcome = |name: &str, ready: bool, ms| ServiceOutcome {
            view: view(name),
            change: Change::Started,
            ready,
            ready_after_ms: ms,
        };
        let name = |text: &str| ServiceName::new(text).unwrap();
        let mut worker = outcome("worker", false, None);
        worker.view.status = ServiceState::Pending;
        let report = StartReport {
            project: ProjectName::new("shop").unwrap(),
            services: vec![
                outcome("db", true, Some(800)),
                outcome("api", false, None),
                worker,
            ],
            failures: vec![Failure {
                service: name("api"),
                reason: "exited 3 <now>".into(),
                exit: None,
                last_probe: Some("tcp: refused".into()),
                last_lines: vec!["\u{1b}[31ma & b \u{1b}[2J".into()],
                wrote_nothing: false,
                not_reached: false,
                blocked: vec![name("worker")],
                still_up: vec![name("db")],
            }],
            critical_path: vec![],
            not_in_file: vec![],
            elapsed_ms: 6_200,
        };
        assert_eq!(
            xml(&report),
            "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"6.200\">
  <testsuite name=\"harness start shop\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"6.200\">
    <testcase classname=\"shop\" name=\"db\" time=\"0.800\"/>
    <testcase classname=\"shop\" name=\"api\" time=\"0.000\">
      <failure message=\"exited 3 &lt;now&gt;\">last probe: tcp: refused
a &amp; b ␛[2J
</failure>
    </testcase>
    <testcase classname=\"shop\" name=\"worker\" time=\"0.000\">
      <skipped message=\"blocked by api\"/>
    </testcase>
  </testsuite>
</testsuites>
"
        );
    }
}
