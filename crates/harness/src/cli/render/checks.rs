//! The report of `doctor`.

use harness_model::foreign::shown;

use super::{Style, name_width};
use crate::cli::doctor::{Check, Verdict};

/// One line per check, with the remedy below if there is one.
pub(crate) fn report(checks: &[Check], style: &Style) -> String {
    let width = name_width(checks.iter().map(|check| check.name));
    let mut out = String::new();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Ok => style.good("✓"),
            Verdict::Warn => style.middling("!"),
            Verdict::Fail => style.bad("✗"),
        };
        out.push_str(&format!(
            "{mark} {:<width$}  {}\n",
            check.name,
            shown(&check.finding)
        ));
        if let Some(remedy) = &check.remedy {
            out.push_str(&format!(
                "  {:<width$}  {}\n",
                "",
                style.dim(format!("→ {}", shown(remedy)))
            ));
        }
    }
    out
}
