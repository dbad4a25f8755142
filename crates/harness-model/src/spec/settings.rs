//! The keys of a type that a program added: a tree of values, whose texts may contain `${service.ip}` and secrets like
//! every other text of a file.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::template::Template;

/// Keys and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Settings(pub BTreeMap<String, Setting>);

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// `true` or `false`.
    Bool(bool),
    /// A number. Durations are milliseconds, sizes are bytes.
    Number(Number),
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<Setting>),
    /// A map.
    Map(Settings),
}

/// The settings are not those that their type expects, or a reference in them is not resolved.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A text still contains a reference.
    #[error("`{text}` is not resolved")]
    Unresolved {
        /// The text, without its secrets.
        text: String,
    },
    /// They do not fit. The cause is left out if there are secrets in them, as it may quote a value.
    #[error("the settings do not fit{}", .0.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    Unfit(#[source] Option<serde_json::Error>),
}

impl Settings {
    /// The settings as the type that its executor works with, secrets included.
    ///
    /// ```
    /// use harness_model::spec::{Setting, Settings};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Clock { every: u64 }
    ///
    /// let settings = Settings([("every".to_owned(), Setting::Number(200.into()))].into());
    /// assert_eq!(settings.read::<Clock>().unwrap().every, 200);
    /// ```
    ///
    /// # Errors
    /// When a reference is not resolved, or when they do not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let has_secret = self.templates().iter().any(|text| text.has_secret());
        serde_json::from_value(self.exposed()?)
            .map_err(|error| SettingsError::Unfit((!has_secret).then_some(error)))
    }

    fn exposed(&self) -> Result<Value, SettingsError> {
        let entries = self.0.iter();
        let entries = entries.map(|(key, setting)| Ok((key.clone(), setting.exposed()?)));
        entries.collect::<Result<_, _>>().map(Value::Object)
    }

    /// Every text in them.
    pub fn templates(&self) -> Vec<&Template> {
        self.0.values().flat_map(Setting::templates).collect()
    }

    /// Replaces every text.
    pub(crate) fn map<E>(&mut self, one: &mut dyn FnMut(&Template) -> Result<Template, E>) -> Result<(), E> {
        self.0.values_mut().try_for_each(|setting| setting.map(one))
    }
}

impl fmt::Display for Setting {
    /// In a line, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(bool) => bool.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Map(Settings(entries)) => {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {value}"));
                write!(f, "{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Setting {
    fn exposed(&self) -> Result<Value, SettingsError> {
        Ok(match self {
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.expose().ok_or_else(|| SettingsError::Unresolved {
                text: text.to_string(),
            })?),
            Self::List(items) => Value::Array(items.iter().map(Self::exposed).collect::<Result<_, _>>()?),
            Self::Map(settings) => settings.exposed()?,
        })
    }

    /// Every text in it.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Bool(_) | Self::Number(_) => Vec::new(),
            Self::Text(text) => vec![text],
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Map(settings) => settings.templates(),
        }
    }

    pub(crate) fn map<E>(&mut self, one: &mut dyn FnMut(&Template) -> Result<Template, E>) -> Result<(), E> {
        match self {
            Self::Bool(_) | Self::Number(_) => Ok(()),
            Self::Text(text) => {
                *text = one(text)?;
                Ok(())
            }
            Self::List(items) => items.iter_mut().try_for_each(|item| item.map(one)),
            Self::Map(settings) => settings.map(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::spec::{Kind, ServiceSpec};
    use crate::template::{AddressField, Part, Reference};

    fn clock(texts: Vec<Part>) -> ServiceSpec {
        let inner = Settings([("text".to_owned(), Setting::Text(Template::from_parts(texts)))].into());
        let list = Setting::List(vec![Setting::Bool(true), Setting::Map(inner)]);
        ServiceSpec::new(Kind::Other {
            type_name: "clock".to_owned(),
            settings: Settings([("list".to_owned(), list)].into()),
        })
    }

    fn settings(spec: &ServiceSpec) -> &Settings {
        match &spec.kind {
            Kind::Other { settings, .. } => settings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn references_and_secrets_in_settings_are_those_of_the_service() {
        let spec = clock(vec![
            Part::Reference(Reference {
                service: "db".parse().unwrap(),
                field: AddressField::Ip,
            }),
            Part::Secret(crate::SecretString::new("hunter2")),
        ]);
        assert_eq!(spec.type_name(), "clock");
        assert_eq!(spec.secrets().len(), 1);
        let error = settings(&spec).read::<Value>().unwrap_err();
        assert_eq!(error.to_string(), "`${db.ip}•••` is not resolved");
        let resolved = spec
            .resolve(|_| Ok::<_, Infallible>("10.0.0.1".to_owned()))
            .unwrap();
        assert_ne!(resolved.digest(), spec.digest());
        let read: Value = settings(&resolved).read().unwrap();
        assert_eq!(
            read,
            serde_json::json!({"list": [true, {"text": "10.0.0.1hunter2"}]})
        );
        let stored = serde_json::to_string(&resolved).unwrap();
        assert_eq!(serde_json::from_str::<ServiceSpec>(&stored).unwrap(), resolved);
    }

    #[test]
    fn an_error_about_settings_with_a_secret_quotes_nothing() {
        let with = clock(vec![Part::Secret(crate::SecretString::new("hunter2"))]);
        let without = clock(vec![Part::Text("plain".into())]);
        let read = |spec: &ServiceSpec| settings(spec).read::<Vec<u8>>().unwrap_err().to_string();
        assert_eq!(read(&with), "the settings do not fit");
        assert!(
            read(&without).contains("expected a sequence"),
            "{}",
            read(&without)
        );
    }
}
