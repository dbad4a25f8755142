//! Validated names. Every value of these types can be used in a path, a container name or `${...}`.

use std::borrow::Borrow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name in bytes. Run directories and container names are built from names.
pub const MAX_NAME_LEN: usize = 63;

/// A text that is not a name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {reason}")]
pub struct InvalidName {
    /// What the name is for: "service name", "project name", …
    pub what: &'static str,
    /// The offending text.
    pub text: String,
    /// What is wrong with it, for people.
    pub reason: &'static str,
}

fn check(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let fail = |reason| {
        Err(InvalidName {
            what,
            text: text.to_owned(),
            reason,
        })
    };
    let Some(first) = text.chars().next() else {
        return fail("it is empty");
    };
    if text.len() > MAX_NAME_LEN {
        return fail("it is longer than 63 characters");
    }
    if !first.is_ascii_alphanumeric() {
        return fail("it must begin with a letter (a-z, A-Z) or digit");
    }
    if text.contains('.') {
        return fail(
            "it must not contain a dot, which separates a service from its field in `${service.ip}`",
        );
    }
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    {
        return fail("it may contain only letters, digits, `-` and `_`");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// When the text is empty, too long, or has a character that is not allowed in a name.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                check($what, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a project, which one file describes.
    ProjectName,
    "project name"
);
name_type!(
    /// The name of a service within its project.
    ServiceName,
    "service name"
);
name_type!(
    /// The name of a network within its project.
    NetworkName,
    "network name"
);
name_type!(
    /// The name of one port of a service, as in `${db.port.admin}`.
    PortName,
    "port name"
);

impl NetworkName {
    /// The network `local`, this machine, which exists without being written.
    pub fn local() -> Self {
        Self("local".into())
    }
}

impl ProjectName {
    /// Turns any text (for example a folder's name) into the nearest valid project name.
    ///
    /// ```
    /// assert_eq!(harness_model::ProjectName::from_lossy("My App (v2)").as_str(), "my-app-v2");
    /// ```
    pub fn from_lossy(text: &str) -> Self {
        let mut name = String::new();
        for c in text.chars() {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_alphanumeric() || (c == '_' && !name.is_empty()) {
                name.push(c);
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
            if name.len() == MAX_NAME_LEN {
                break;
            }
        }
        let name = name.trim_end_matches('-');
        Self(if name.is_empty() {
            "project".into()
        } else {
            name.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "db-1", "9lives", "a_b"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a.b", "a b", "é", "a/b", &"x".repeat(64)] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lossy_project_names_are_valid() {
        for text in ["", "...", "My App", "x".repeat(200).as_str(), "ünï", "a--b"] {
            let name = ProjectName::from_lossy(text);
            assert!(ProjectName::new(name.as_str()).is_ok(), "{text:?} -> {name}");
        }
    }
}
