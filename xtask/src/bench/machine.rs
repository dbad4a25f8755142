//! Describes the machine on which the figures were measured.

use std::fs;

use serde_json::{Value, json};

/// Cores, processor, memory, kernel, and the load before the bench. It contains no names.
pub(crate) fn describe() -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = field(&read("/proc/meminfo"), "MemTotal:");
    let load = read("/proc/loadavg");
    json!({
        "cores": cores,
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "memory": memory,
        "kernel": kernel.trim(),
        "load": load.split(' ').next(),
    })
}

/// The same in one line.
pub(crate) fn words(machine: &Value) -> String {
    let word = |key: &str| match &machine[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!(
        "{} cores ({}), {} memory, Linux {}, load {} before\n",
        word("cores"),
        word("processor"),
        word("memory"),
        word("kernel"),
        word("load"),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The text after a key (and perhaps a colon) in the first line with that key.
fn field(text: &str, key: &str) -> String {
    let rest = text.lines().find_map(|line| line.strip_prefix(key));
    rest.unwrap_or_default()
        .trim_start_matches([' ', '\t', ':'])
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_and_without_tabs() {
        assert_eq!(field("a : 1\nmodel name\t: A core\n", "model name"), "A core");
        assert_eq!(field("MemTotal:     100 kB\n", "MemTotal:"), "100 kB");
        assert_eq!(field("", "x"), "");
    }

    #[test]
    fn the_machine_is_told_in_a_line() {
        let machine = json!({"cores": 2, "processor": "P", "memory": "1 kB", "kernel": "6.1", "load": "0.5"});
        assert_eq!(
            words(&machine),
            "2 cores (P), 1 kB memory, Linux 6.1, load 0.5 before\n"
        );
    }
}
