//! Values that are not searched for in other text, because they occur there for other reasons.

use std::collections::BTreeSet;
use std::fmt;

use super::MIN_REDACTED_LEN;

/// Words that programs write anyway: states, yes and no, and names and passwords from examples.
const COMMON: &[&str] = &[
    "administrator",
    "admin",
    "auto",
    "changeme",
    "completed",
    "data",
    "debug",
    "default",
    "demo",
    "dev",
    "develop",
    "development",
    "disabled",
    "docker",
    "enabled",
    "error",
    "example",
    "exited",
    "failed",
    "false",
    "guest",
    "healthy",
    "info",
    "key",
    "letmein",
    "local",
    "localhost",
    "mariadb",
    "minio",
    "mongo",
    "mongodb",
    "mysql",
    "nil",
    "none",
    "null",
    "off",
    "on",
    "pass",
    "passwd",
    "password",
    "pending",
    "postgres",
    "postgresql",
    "prod",
    "production",
    "public",
    "rabbitmq",
    "redis",
    "root",
    "running",
    "sample",
    "secret",
    "service",
    "staging",
    "started",
    "starting",
    "stopped",
    "stopping",
    "system",
    "test",
    "tester",
    "testing",
    "token",
    "trace",
    "true",
    "unhealthy",
    "unknown",
    "user",
    "username",
    "value",
    "warn",
    "warning",
    "yes",
];

/// Why a value is not searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsearched {
    /// It is shorter than [`MIN_REDACTED_LEN`].
    Short,
    /// It is a word that programs write anyway, or a name in the same project.
    Common,
}

impl fmt::Display for Unsearched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "is very short",
            Self::Common => "is a common word, or a name in this file",
        })
    }
}

/// Why a secret with this value is not searched for in other text; `None` if it is searched for. `names` has the
/// names of the project and its services.
pub fn unsearched(value: &str, names: &BTreeSet<String>) -> Option<Unsearched> {
    if value.chars().count() < MIN_REDACTED_LEN {
        return Some(Unsearched::Short);
    }
    let lower = value.to_lowercase();
    let is_common = COMMON.contains(&lower.as_str()) || names.contains(value) || names.contains(&lower);
    is_common.then_some(Unsearched::Common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_output_anyway_is_not_searched_for() {
        let names = BTreeSet::from(["warehouse".to_owned()]);
        for value in ["false", "FALSE", "exited", "postgres", "warehouse", "Warehouse"] {
            assert_eq!(unsearched(value, &names), Some(Unsearched::Common), "{value}");
        }
        for value in ["", "1", "off", "häß"] {
            assert_eq!(unsearched(value, &names), Some(Unsearched::Short), "{value}");
        }
        for value in ["hunter2", "4711", "postgres1", "warehouse-2", "falsehood"] {
            assert_eq!(unsearched(value, &names), None, "{value}");
        }
    }
}
