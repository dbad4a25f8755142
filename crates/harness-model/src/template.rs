//! Strings in which `${VAR}` is already replaced, but `${service.ip}` is not.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{PortName, ServiceName};
use crate::secret::{REDACTED, SecretString};

/// The field of a service that a reference asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressField {
    /// `.ip`: the address at which the referring service reaches the other one.
    Ip,
    /// `.host`: the name or address of its host, in a form that the referring service can use.
    Host,
    /// `.port` (the only or first one) or `.port.NAME`.
    Port(Option<PortName>),
}

/// `${service.field}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    /// The service that it refers to.
    pub service: ServiceName,
    /// The field that it asks for.
    pub field: AddressField,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            AddressField::Ip => write!(f, "${{{}.ip}}", self.service),
            AddressField::Host => write!(f, "${{{}.host}}", self.service),
            AddressField::Port(None) => write!(f, "${{{}.port}}", self.service),
            AddressField::Port(Some(name)) => write!(f, "${{{}.port.{name}}}", self.service),
        }
    }
}

/// One piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Text as written, or a variable's value.
    Text(String),
    /// The value of a variable that must not be shown.
    Secret(SecretString),
    /// An address that is not known yet.
    Reference(Reference),
}

/// A string in a service's specification. `Display` and `Debug` never show a secret.
///
/// ```
/// use harness_model::{Part, SecretString, Template};
/// let url = Template::from_parts([
///     Part::Text("postgres://app:".into()),
///     Part::Secret(SecretString::new("hunter2")),
///     Part::Text("@localhost".into()),
/// ]);
/// assert_eq!(url.to_string(), "postgres://app:•••@localhost");
/// assert_eq!(url.expose().as_deref(), Some("postgres://app:hunter2@localhost"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Template(Vec<Part>);

impl Template {
    /// A template of these parts. Adjacent texts are joined, and empty ones are dropped.
    pub fn from_parts(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut out: Vec<Part> = Vec::new();
        for part in parts {
            match (out.last_mut(), part) {
                (_, Part::Text(text)) if text.is_empty() => {}
                (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
                (_, part) => out.push(part),
            }
        }
        Self(out)
    }

    /// A template that is one secret.
    pub fn secret(value: impl Into<String>) -> Self {
        Self(vec![Part::Secret(SecretString::new(value))])
    }

    /// The parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether it is the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it contains a secret.
    pub fn has_secret(&self) -> bool {
        self.0.iter().any(|p| matches!(p, Part::Secret(_)))
    }

    /// The references in it, in order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|p| match p {
            Part::Reference(r) => Some(r),
            _ => None,
        })
    }

    /// The secrets in it.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.0.iter().filter_map(|p| match p {
            Part::Secret(s) => Some(s),
            _ => None,
        })
    }

    /// The services it refers to.
    pub fn services(&self) -> BTreeSet<&ServiceName> {
        self.references().map(|r| &r.service).collect()
    }

    /// The string itself, including secrets; `None` while a reference is unresolved.
    pub fn expose(&self) -> Option<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Secret(secret) => out.push_str(secret.expose()),
                Part::Reference(_) => return None,
            }
        }
        Some(out)
    }

    /// The template with its secrets as text. For comparing only, never to show.
    pub(crate) fn plain(&self) -> Self {
        let parts = self.0.iter().map(|part| match part {
            Part::Secret(secret) => Part::Text(secret.expose().to_owned()),
            other => other.clone(),
        });
        Self::from_parts(parts)
    }

    /// The template with each reference replaced by the result of `lookup`.
    ///
    /// # Errors
    /// The first error of `lookup`.
    pub fn resolve<E>(&self, mut lookup: impl FnMut(&Reference) -> Result<String, E>) -> Result<Self, E> {
        let parts = self.0.iter().map(|part| match part {
            Part::Reference(reference) => lookup(reference).map(Part::Text),
            other => Ok(other.clone()),
        });
        Ok(Self::from_parts(parts.collect::<Result<Vec<_>, E>>()?))
    }
}

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Self::from_parts([Part::Text(text.to_owned())])
    }
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        Self::from_parts([Part::Text(text)])
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Secret(_) => f.write_str(REDACTED)?,
                Part::Reference(reference) => reference.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}
