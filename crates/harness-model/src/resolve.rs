//! A service's specification with every reference replaced, its digest, and what changed between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::secret::{REDACTED, SecretString, is_secret_name};
use crate::spec::{FileSpec, Kind, Probe, ServiceSpec};
use crate::template::{Part, Reference, Template};

/// SHA-256 of a resolved specification, in hex. If two digests are equal, nothing about the service changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SpecDigest(String);

impl fmt::Display for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SpecDigest {
    /// A digest given as text (from a store, or in a test).
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl ServiceSpec {
    /// Every template in the specification.
    pub fn templates(&self) -> Vec<&Template> {
        let mut out: Vec<&Template> = Vec::new();
        out.extend(self.env.values());
        for file in &self.files {
            out.push(&file.target);
            out.extend(&file.content);
        }
        if let Some(check) = &self.health_check {
            match &check.probe {
                Probe::Http(t) | Probe::Tcp(t) => out.push(t),
                Probe::Command(words) => out.extend(words),
                Probe::Log(_) => {}
                Probe::Other { setting, .. } => out.extend(setting.templates()),
            }
            out.extend(check.http.headers.values());
        }
        out.extend(self.hooks.commands().flat_map(|hook| &hook.words));
        match &self.kind {
            Kind::Process(p) => {
                out.push(&p.binary);
                out.extend(&p.args);
                out.extend(&p.working_dir);
            }
            Kind::Container(d) => {
                out.extend(&d.image);
                out.extend(d.build.iter().flat_map(|b| b.args.values()));
                out.extend(d.command.iter().flatten());
                out.extend(d.entrypoint.iter().flatten());
                out.extend(&d.volumes);
                out.extend(&d.user);
                out.extend(&d.working_dir);
                out.extend(&d.extra_hosts);
                out.extend(d.labels.values());
            }
            Kind::Package(p) => {
                out.push(&p.package);
                out.extend(&p.version);
                out.extend(&p.install_path);
                out.extend(&p.binary);
                out.extend(&p.args);
            }
            Kind::Other { settings, .. } => out.extend(settings.templates()),
        }
        out
    }

    /// The templates that appear in errors about it: programs, folders, files, images, addresses.
    pub fn places(&self) -> Vec<&Template> {
        let mut out: Vec<&Template> = self.files.iter().map(|file| &file.target).collect();
        if let Some(check) = &self.health_check {
            match &check.probe {
                Probe::Http(t) | Probe::Tcp(t) => out.push(t),
                Probe::Command(words) => out.extend(words.first()),
                Probe::Log(_) => {}
                Probe::Other { setting, .. } => out.extend(setting.templates()),
            }
        }
        out.extend(self.hooks.commands().filter_map(|hook| hook.words.first()));
        match &self.kind {
            Kind::Process(p) => {
                out.push(&p.binary);
                out.extend(&p.working_dir);
            }
            Kind::Container(d) => {
                out.extend(&d.image);
                out.extend(&d.volumes);
                out.extend(&d.user);
                out.extend(&d.working_dir);
            }
            Kind::Package(p) => {
                out.push(&p.package);
                out.extend(&p.version);
                out.extend(&p.install_path);
                out.extend(&p.binary);
            }
            Kind::Other { settings, .. } => out.extend(settings.templates()),
        }
        out
    }

    /// The specification with each `${service.…}` replaced by the result of `lookup`.
    ///
    /// # Errors
    /// The first error of `lookup`.
    pub fn resolve<E>(&self, mut lookup: impl FnMut(&Reference) -> Result<String, E>) -> Result<Self, E> {
        self.map_templates(|template| template.resolve(&mut lookup))
    }

    /// Whether it is the same as another one, whichever parts count as secret in either.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.plain().comparable() == other.plain().comparable()
    }

    /// The specification with its secrets as text. For comparing only, never to show.
    fn plain(&self) -> Self {
        let plain = self.map_templates(|template| Ok::<_, Infallible>(template.plain()));
        match plain {
            Ok(plain) => plain,
            Err(never) => match never {},
        }
    }

    /// The specification with each template replaced.
    fn map_templates<E>(&self, mut one: impl FnMut(&Template) -> Result<Template, E>) -> Result<Self, E> {
        let mut out = self.clone();
        map_values(&mut out.env, &mut one)?;
        for FileSpec { target, content, .. } in &mut out.files {
            *target = one(target)?;
            map_all(content, &mut one)?;
        }
        if let Some(check) = &mut out.health_check {
            match &mut check.probe {
                Probe::Http(t) | Probe::Tcp(t) => *t = one(t)?,
                Probe::Command(words) => map_all(words, &mut one)?,
                Probe::Log(_) => {}
                Probe::Other { setting, .. } => setting.map(&mut one)?,
            }
            map_values(&mut check.http.headers, &mut one)?;
        }
        for hook in out.hooks.commands_mut() {
            map_all(&mut hook.words, &mut one)?;
        }
        match &mut out.kind {
            Kind::Process(p) => {
                p.binary = one(&p.binary)?;
                map_all(&mut p.args, &mut one)?;
                map_all(&mut p.working_dir, &mut one)?;
            }
            Kind::Container(d) => {
                map_all(&mut d.image, &mut one)?;
                if let Some(build) = &mut d.build {
                    map_values(&mut build.args, &mut one)?;
                }
                map_all(d.command.iter_mut().flatten(), &mut one)?;
                map_all(d.entrypoint.iter_mut().flatten(), &mut one)?;
                map_all(&mut d.volumes, &mut one)?;
                map_all(&mut d.user, &mut one)?;
                map_all(&mut d.working_dir, &mut one)?;
                map_all(&mut d.extra_hosts, &mut one)?;
                map_values(&mut d.labels, &mut one)?;
            }
            Kind::Package(p) => {
                p.package = one(&p.package)?;
                map_all(&mut p.version, &mut one)?;
                map_all(&mut p.install_path, &mut one)?;
                map_all(&mut p.binary, &mut one)?;
                map_all(&mut p.args, &mut one)?;
            }
            Kind::Other { settings, .. } => settings.map(&mut one)?,
        }
        Ok(out)
    }

    /// Every secret value in the specification, for a [`crate::Redactor`].
    pub fn secrets(&self) -> Vec<SecretString> {
        self.templates()
            .into_iter()
            .flat_map(Template::secrets)
            .cloned()
            .collect()
    }

    /// Whether it contains this value as plain text.
    pub fn shows(&self, value: &SecretString) -> bool {
        let mut parts = self.templates().into_iter().flat_map(Template::parts);
        parts.any(|part| matches!(part, Part::Text(text) if text == value.expose()))
    }

    /// The digest that shows whether a service changed. The place of a port in the file and the service's profiles
    /// are not part of it.
    pub fn digest(&self) -> SpecDigest {
        let mut hasher = Sha256::new();
        hasher.update(self.comparable().to_string().as_bytes());
        let mut hex = String::with_capacity(64);
        for byte in hasher.finalize() {
            hex.push_str(&format!("{byte:02x}"));
        }
        SpecDigest(hex)
    }

    fn comparable(&self) -> Value {
        let mut plain = self.clone();
        for port in &mut plain.ports {
            port.origin = None;
        }
        plain.profiles.clear();
        // A map with string keys and no floats always serializes.
        serde_json::to_value(&plain).unwrap_or(Value::Null)
    }

    /// The differences from an earlier specification, for people: `env LOG_LEVEL changed`. Never shows a value that
    /// could be secret.
    pub fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let (earlier, this) = (earlier.plain(), self.plain());
        let mut out = Vec::new();
        env_changes(&earlier.env, &this.env, &mut out);
        let (Value::Object(old), Value::Object(new)) = (earlier.comparable(), this.comparable()) else {
            return out;
        };
        for (key, value) in &new {
            let before = old.get(key).unwrap_or(&Value::Null);
            if key == "env" || before == value {
                continue;
            }
            if key == "kind" {
                kind_changes(before, value, &mut out);
            } else {
                out.push(format!("{key} changed"));
            }
        }
        out
    }
}

fn kind_changes(old: &Value, new: &Value, out: &mut Vec<String>) {
    let inner = |v: &Value| {
        v.as_object()
            .and_then(|o| o.iter().next().map(|(k, v)| (k.clone(), v.clone())))
    };
    match (inner(old), inner(new)) {
        (Some((old_type, old)), Some((new_type, new))) if old_type == new_type => {
            let empty = serde_json::Map::new();
            let (old, new) = (
                old.as_object().unwrap_or(&empty),
                new.as_object().unwrap_or(&empty),
            );
            // Options that are not written are missing in the JSON.
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
            out.extend(changed.map(|key| format!("{key} changed")));
        }
        (Some((old_type, _)), Some((new_type, _))) => {
            out.push(format!("type changed from {old_type} to {new_type}"))
        }
        _ => out.push("type changed".to_owned()),
    }
}

fn env_changes(old: &BTreeMap<String, Template>, new: &BTreeMap<String, Template>, out: &mut Vec<String>) {
    for (key, value) in new {
        match old.get(key) {
            None => out.push(format!("env {key} added")),
            Some(before) if before != value => out.push(format!("env {key} changed")),
            Some(_) => {}
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        out.push(format!("env {key} removed"));
    }
}

/// An environment variable as it may be shown: fully hidden for secret names, else with secret parts hidden.
pub fn shown_env(name: &str, value: &Template) -> String {
    if is_secret_name(name) {
        REDACTED.to_owned()
    } else {
        value.to_string()
    }
}

fn map_values<K: Ord, E>(
    map: &mut BTreeMap<K, Template>,
    mut one: impl FnMut(&Template) -> Result<Template, E>,
) -> Result<(), E> {
    map_all(map.values_mut(), &mut one)
}

fn map_all<'a, E>(
    items: impl IntoIterator<Item = &'a mut Template>,
    mut one: impl FnMut(&Template) -> Result<Template, E>,
) -> Result<(), E> {
    for item in items {
        *item = one(item)?;
    }
    Ok(())
}
