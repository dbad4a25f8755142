//! The result: one row for each figure, as a Markdown table or as JSON.

use serde_json::{Value, json};

use super::stats::{Samples, Unit};

/// The target of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// At most this many times the baseline.
    Ratio(f64),
    /// At most this value, in the row's unit.
    AtMost(f64),
    /// No target: the figure is only shown.
    None,
}

/// A figure: what was measured, next to the bare baseline.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The name of what was measured.
    pub(crate) figure: String,
    /// The unit of the results.
    pub(crate) unit: Unit,
    /// The results.
    pub(crate) measured: Samples,
    /// The same done without harness, if that is possible.
    pub(crate) baseline: Option<Samples>,
    /// The target.
    pub(crate) target: Target,
}

impl Row {
    /// The measured median divided by the baseline's median.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let baseline = self.baseline.as_ref()?.median();
        (baseline > 0.0).then(|| self.measured.median() / baseline)
    }

    /// Whether the target was reached; `None` if there is no target.
    pub(crate) fn reached(&self) -> Option<bool> {
        match self.target {
            Target::Ratio(limit) => Some(self.ratio().is_some_and(|ratio| ratio <= limit)),
            Target::AtMost(limit) => Some(self.measured.median() <= limit),
            Target::None => None,
        }
    }

    fn cells(&self) -> [String; 6] {
        let none = || "–".to_owned();
        let target = match self.target {
            Target::Ratio(limit) => format!("≤ {limit}x"),
            Target::AtMost(limit) => format!("≤ {}", self.unit.show(limit)),
            Target::None => none(),
        };
        let reached = self.reached().map(|yes| if yes { "yes" } else { "**no**" });
        [
            self.figure.clone(),
            self.unit.show_samples(&self.measured),
            self.baseline
                .as_ref()
                .map_or_else(none, |samples| self.unit.show_samples(samples)),
            self.ratio().map_or_else(none, |ratio| format!("{ratio:.2}x")),
            target,
            reached.map_or_else(none, str::to_owned),
        ]
    }

    fn json(&self) -> Value {
        let samples = |samples: &Samples| {
            json!({
                "median": samples.median(),
                "min": samples.min(),
                "max": samples.max(),
                "runs": samples.runs(),
            })
        };
        let target = match self.target {
            Target::Ratio(limit) => json!({"at_most": limit, "of": "ratio"}),
            Target::AtMost(limit) => json!({"at_most": limit, "of": "measured"}),
            Target::None => Value::Null,
        };
        json!({
            "figure": self.figure,
            "unit": self.unit.name(),
            "measured": samples(&self.measured),
            "baseline": self.baseline.as_ref().map(samples),
            "ratio": self.ratio(),
            "target": target,
            "reached": self.reached(),
        })
    }
}

const HEAD: [&str; 6] = ["figure", "measured", "baseline", "ratio", "target", "reached"];

/// The rows as a Markdown table with aligned columns.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                text.push_str(&format!("|{}", "-".repeat(width + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// The rows as JSON, with a description of the machine and the names of the figures that could not be measured on it.
pub(crate) fn json(machine: Value, rows: &[Row], left_out: &[&str]) -> Value {
    json!({
        "machine": machine,
        "left_out": left_out,
        "figures": rows.iter().map(Row::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(measured: f64, baseline: Option<f64>, target: Target) -> Row {
        Row {
            figure: "up".to_owned(),
            unit: Unit::Seconds,
            measured: Samples::one(measured),
            baseline: baseline.map(Samples::one),
            target,
        }
    }

    #[test]
    fn a_ratio_is_judged_by_the_baseline() {
        assert_eq!(row(0.2, Some(0.1), Target::Ratio(2.5)).reached(), Some(true));
        assert_eq!(row(0.3, Some(0.1), Target::Ratio(2.5)).reached(), Some(false));
        assert_eq!(row(0.3, None, Target::Ratio(2.5)).reached(), Some(false));
    }

    #[test]
    fn a_limit_is_judged_by_the_figure_itself() {
        assert_eq!(row(0.005, Some(0.1), Target::AtMost(0.005)).reached(), Some(true));
        assert_eq!(
            row(0.006, Some(0.1), Target::AtMost(0.005)).reached(),
            Some(false)
        );
        assert_eq!(row(0.006, None, Target::None).reached(), None);
    }

    #[test]
    fn the_table_is_aligned_markdown() {
        let rows = [
            row(0.2, Some(0.05), Target::Ratio(2.5)),
            row(0.004, None, Target::AtMost(0.005)),
        ];
        assert_eq!(
            markdown(&rows),
            "| figure | measured | baseline | ratio | target    | reached |\n\
             |--------|----------|----------|-------|-----------|---------|\n\
             | up     | 200 ms   | 50.00 ms | 4.00x | ≤ 2.5x    | **no**  |\n\
             | up     | 4.00 ms  | –        | –     | ≤ 5.00 ms | yes     |\n"
        );
    }

    #[test]
    fn json_has_every_key_in_every_figure() {
        let rows = [
            row(0.5, Some(0.25), Target::Ratio(2.5)),
            row(0.5, None, Target::None),
        ];
        let value = json(json!({"cores": 2}), &rows, &["mixed"]);
        assert_eq!(value["machine"]["cores"], 2);
        assert_eq!(value["left_out"], json!(["mixed"]));
        let one = json!({"median": 0.25, "min": 0.25, "max": 0.25, "runs": 1});
        assert_eq!(value["figures"][0]["baseline"], one);
        assert_eq!(value["figures"][0]["ratio"], 2.0);
        assert_eq!(value["figures"][0]["reached"], true);
        let second = value["figures"][1].as_object().unwrap();
        for key in ["baseline", "ratio", "target", "reached"] {
            assert_eq!(second[key], Value::Null, "{key}");
        }
    }
}
