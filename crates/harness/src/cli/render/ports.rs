//! Ports of the plan that other processes hold.

use harness_model::foreign::shown;
use harness_wire::message::PortConflict;

use super::Style;

/// Each conflict with its holder and the place in the file.
pub(crate) fn conflicts(conflicts: &[PortConflict], style: &Style) -> String {
    let mut out = String::new();
    for (index, conflict) in conflicts.iter().enumerate() {
        let PortConflict {
            service,
            port,
            protocol,
            holder,
            origin,
        } = conflict;
        let transport = match protocol {
            harness_model::spec::Protocol::Tcp => "",
            harness_model::spec::Protocol::Udp => "udp ",
        };
        out.push_str(&format!(
            "{} {}: {transport}port {port} is held by {holder}\n",
            style.bad("✗"),
            style.bold(service.as_str()),
        ));
        out.push_str("  change ");
        match origin {
            Some(origin) => {
                let entry = origin.text.trim();
                let entry = if entry.starts_with("ports") {
                    entry.to_owned()
                } else {
                    format!("ports: {entry}")
                };
                out.push_str(&format!(
                    "{}:{} `{}`",
                    shown(&origin.file),
                    origin.line,
                    shown(&entry)
                ));
            }
            None => out.push_str("the port in the file"),
        }
        out.push_str(", or stop it.");
        if index + 1 == conflicts.len() {
            out.push_str(" Nothing was started.");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use harness_model::ServiceName;
    use harness_model::spec::{Origin, Protocol};

    use super::*;

    #[test]
    fn a_taken_port_is_told_with_its_holder_and_its_line() {
        let conflict = |service: &str, port, origin| PortConflict {
            service: ServiceName::new(service).unwrap(),
            port,
            protocol: Protocol::Tcp,
            holder: "postgres (pid 812, user postgres, not harness)".into(),
            origin,
        };
        let origin = Origin {
            file: "services.yaml".into(),
            line: 9,
            text: "- 5432".into(),
        };
        let plain = Style::new(false);
        assert_eq!(
            conflicts(&[conflict("db", 5432, Some(origin))], &plain),
            "✗ db: port 5432 is held by postgres (pid 812, user postgres, not harness)\n  \
             change services.yaml:9 `ports: - 5432`, or stop it. Nothing was started.\n"
        );
        let two = conflicts(&[conflict("a", 1, None), conflict("b", 2, None)], &plain);
        assert_eq!(two.matches("Nothing was started.").count(), 1);
        assert!(two.ends_with("Nothing was started.\n"));
    }
}
