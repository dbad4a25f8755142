//! Chooses services of compose files, and their names.

use std::collections::BTreeMap;

use harness_model::ServiceName;

use super::Group;
use super::files::Files;
use crate::compose::{ComposeFile, needs};
use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::SERVICE;
use crate::lower::paths;
use crate::read::{Reader, Text};
use crate::source::Span;
use crate::suggest::{did_you_mean, listed};
use crate::tree::{Key, Kind, Node};

/// An entry of `type: compose`.
pub(in crate::lower) struct Entry<'a> {
    pub name: ServiceName,
    pub span: Span,
    pub node: &'a Node,
}

/// A service of a compose file that is to run.
pub(super) struct Chosen<'a> {
    /// Index of the file.
    pub file: usize,
    /// Its name in the compose file.
    pub service: String,
    /// Its name here.
    pub name: ServiceName,
    pub span: Span,
    /// The entry that is only for this service.
    pub own: Option<&'a Node>,
    /// The entry that it shares with other services.
    pub shared: Option<&'a Node>,
    /// The indexes of the services that brought it in by `depends_on`; empty if an entry names it.
    pub brought_by: Vec<usize>,
}

/// The services that the entries choose.
pub(super) struct Choice<'a> {
    pub files: Vec<ComposeFile>,
    pub chosen: Vec<Chosen<'a>>,
    pub groups: BTreeMap<ServiceName, Group>,
    pub lost: Vec<(ServiceName, Span)>,
}

impl Chosen<'_> {
    /// The services of its file that it needs. None if its entry lists `dependencies`.
    pub(super) fn needs(&self, files: &[ComposeFile]) -> Vec<crate::compose::Need> {
        if self.own.is_some_and(|own| own.get("dependencies").is_some()) {
            return Vec::new();
        }
        let service = files[self.file].service(&self.service);
        service.map_or_else(Vec::new, |(_, node)| needs(node, &mut Vec::new()))
    }

    /// The profiles that are written for it: in its own entry, else in the compose file, else in the entry of its
    /// group.
    fn written_profiles(&self, files: &[ComposeFile]) -> Option<Node> {
        let of_file = || files[self.file].service(&self.service)?.1.get("profiles");
        let written = self
            .own
            .and_then(|own| own.get("profiles"))
            .or_else(of_file)
            .or_else(|| self.shared?.get("profiles"));
        written.cloned()
    }
}

/// The profiles of each chosen service. A service that others brought in has the profiles of all of them.
pub(super) fn profiles(chosen: &[Chosen<'_>], files: &[ComposeFile]) -> Vec<Option<Node>> {
    let mut out: Vec<Option<Node>> = Vec::new();
    for one in chosen {
        // Services come after those that brought them in.
        let profiles = one.written_profiles(files).or_else(|| union(one, &out));
        out.push(profiles);
    }
    out
}

/// The profiles of all services that brought this one in. `None` if one of them has no profiles and so always starts.
fn union(one: &Chosen<'_>, profiles: &[Option<Node>]) -> Option<Node> {
    let mut all: Vec<Node> = Vec::new();
    for by in &one.brought_by {
        let Kind::List(items) = &profiles.get(*by)?.as_ref()?.kind else {
            return None;
        };
        for item in items {
            let same = |other: &Node| matches!((&other.kind, &item.kind), (Kind::String(a), Kind::String(b)) if a == b);
            if !all.iter().any(same) {
                all.push(item.clone());
            }
        }
    }
    (!all.is_empty()).then_some(Node {
        span: one.span,
        kind: Kind::List(all),
    })
}

/// The chosen service that a service of a file stands for here.
pub(super) fn called<'c, 'a>(chosen: &'c [Chosen<'a>], file: usize, service: &str) -> Option<&'c Chosen<'a>> {
    let mut all = chosen
        .iter()
        .filter(|one| one.file == file && one.service == service);
    let first = all.next()?;
    let more = all.find(|one| one.name.as_str() == service);
    Some(match more {
        Some(same) if first.name.as_str() != service => same,
        _ => first,
    })
}

/// An entry whose keys have been read.
struct Read<'a> {
    name: ServiceName,
    span: Span,
    node: &'a Node,
    file: usize,
    one: Option<Text>,
    several: Option<Vec<Text>>,
}

/// Reads the entries and their files.
pub(super) fn choose<'a>(reader: Reader<'_>, entries: &[Entry<'a>]) -> Choice<'a> {
    let mut files = Files::default();
    let mut lost = Vec::new();
    let mut read = Vec::new();
    for entry in entries {
        match one_entry(reader, entry, &mut files) {
            Some(entry) => read.push(entry),
            None => lost.push((entry.name.clone(), entry.span)),
        }
    }
    let files = files.trees;
    let mut out = Choice {
        files: Vec::new(),
        chosen: Vec::new(),
        groups: BTreeMap::new(),
        lost,
    };
    // Services with their own entry come first: a group uses the names from there.
    for entry in &read {
        let Some(one) = &entry.one else { continue };
        if !exists(reader, &files[entry.file], one) {
            out.lost.push((entry.name.clone(), entry.span));
            continue;
        }
        out.chosen.push(Chosen {
            file: entry.file,
            service: one.value.clone(),
            name: entry.name.clone(),
            span: entry.span,
            own: Some(entry.node),
            shared: None,
            brought_by: Vec::new(),
        });
    }
    for entry in read.iter().filter(|entry| entry.one.is_none()) {
        group(reader, entry, &files[entry.file], &mut out);
    }
    bring(reader, &files, &mut out.chosen);
    out.files = files;
    out
}

fn one_entry<'a>(reader: Reader<'_>, entry: &Entry<'a>, files: &mut Files) -> Option<Read<'a>> {
    let reader = Reader {
        service: Some(&entry.name),
        ..reader
    };
    let fields = Fields::open(reader, &SERVICE, entry.node)?;
    let owner = format!("the compose service `{}`", entry.name);
    fields.check_keys(&format!("service `{}`", entry.name), entry.span, Some("compose"));
    fields.require("file", &owner, entry.span);
    let one = fields.text("service");
    let several = fields.texts("services");
    if fields.has("service") && fields.has("services") {
        reader.report(
            Finding::error(
                fields.key_span("services"),
                "write `service` or `services`, not both",
            )
            .related(fields.key_span("service"), "the other one"),
        );
    }
    if !fields.has("service") {
        refuse_keys_of_one(reader, entry);
    }
    let file = fields.text("file")?;
    let path = paths::local(&reader, &file);
    Some(Read {
        name: entry.name.clone(),
        span: entry.span,
        node: entry.node,
        file: files.read(reader, &path, file.span)?,
        // An entry with a wrong `service` must not count as one for the whole file.
        one: if fields.has("service") { Some(one?) } else { None },
        several: fields.has("services").then_some(several),
    })
}

/// The keys that an entry for several services may have.
const OF_ALL: [&str; 5] = ["type", "file", "services", "dependencies", "profiles"];

fn refuse_keys_of_one(reader: Reader<'_>, entry: &Entry<'_>) {
    for (key, _) in crate::compose::entries_of(entry.node) {
        let known = SERVICE
            .key(&key.name)
            .is_some_and(|known| known.types.is_empty() || known.types.contains(&"compose"));
        if known && !OF_ALL.contains(&key.name.as_str()) {
            reader.report(
                Finding::error(
                    key.span,
                    format!(
                        "`{}` is for one service, but `{}` may be several",
                        key.name, entry.name
                    ),
                )
                .help("give that service its own entry, with `service: NAME`"),
            );
        }
    }
}

fn exists(reader: Reader<'_>, file: &ComposeFile, name: &Text) -> bool {
    if file.service(&name.value).is_some() {
        return true;
    }
    let names = || file.services().iter().map(|(key, _)| key.name.as_str());
    let help = did_you_mean(&name.value, names())
        .unwrap_or_else(|| format!("its services are {}", listed(names(), "none")));
    let message = format!("the compose file has no service `{}`", name.value);
    reader.report(Finding::error(name.span, message).help(help));
    false
}

fn group<'a>(reader: Reader<'_>, entry: &Read<'a>, file: &ComposeFile, out: &mut Choice<'a>) {
    let all = || file.services().iter().map(|(key, _)| key.clone()).collect();
    let wanted: Vec<Key> = match &entry.several {
        None => all(),
        Some(names) => names
            .iter()
            .filter(|name| exists(reader, file, name))
            .filter_map(|name| Some(file.service(&name.value)?.0.clone()))
            .collect(),
    };
    if wanted.is_empty() && entry.several.is_none() {
        reader.report(Finding::error(entry.span, "the compose file has no services"));
    }
    let mut members = Vec::new();
    for key in wanted {
        let before = out.chosen.len();
        let already = out.chosen[..before]
            .iter()
            .filter(|one| one.file == entry.file && one.service == key.name);
        let already: Vec<ServiceName> = already.map(|one| one.name.clone()).collect();
        if !already.is_empty() {
            members.extend(already);
            continue;
        }
        let Some(name) = name_of(reader, &key) else {
            continue;
        };
        members.push(name.clone());
        out.chosen.push(Chosen {
            file: entry.file,
            service: key.name.clone(),
            name,
            span: key.span,
            own: None,
            shared: Some(entry.node),
            brought_by: Vec::new(),
        });
    }
    if members.as_slice() == std::slice::from_ref(&entry.name) {
        return;
    }
    if members.contains(&entry.name) {
        reader.report(
            Finding::error(
                entry.span,
                format!(
                    "`{}` is the name of all these services, and also the name of one of them",
                    entry.name
                ),
            )
            .help("rename the entry, or write `service` to run only that one"),
        );
    }
    out.groups.insert(entry.name.clone(), Group { members });
}

fn name_of(reader: Reader<'_>, key: &Key) -> Option<ServiceName> {
    match ServiceName::new(&key.name) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.report(Finding::error(key.span, error.to_string()).help(format!(
                "give it a name here: `NAME: {{type: compose, file: …, service: {}}}`",
                key.name
            )));
            None
        }
    }
}

/// Adds the services that the chosen ones need from their files, and the services that those need.
fn bring<'a>(reader: Reader<'_>, files: &[ComposeFile], chosen: &mut Vec<Chosen<'a>>) {
    let mut at = 0;
    while at < chosen.len() {
        let file = chosen[at].file;
        for need in chosen[at].needs(files) {
            let service = need.service.name;
            let Some((key, _)) = files[file].service(&service) else {
                continue;
            };
            let same: Vec<usize> = (0..chosen.len())
                .filter(|other| chosen[*other].file == file && chosen[*other].service == service)
                .collect();
            match same.as_slice() {
                [] => {
                    if let Some(name) = name_of(reader, key) {
                        chosen.push(Chosen {
                            file,
                            service,
                            name,
                            span: key.span,
                            own: None,
                            shared: None,
                            brought_by: vec![at],
                        });
                    }
                }
                [one] => {
                    let one = *one;
                    if !chosen[one].brought_by.is_empty() && one > at {
                        chosen[one].brought_by.push(at);
                    }
                }
                several if several.iter().any(|one| chosen[*one].name.as_str() == service) => {}
                several => {
                    let names = several.iter().map(|one| chosen[*one].name.as_str());
                    let message = format!(
                        "`{service}` has several entries here, {}: which of them is needed?",
                        listed(names, "nothing")
                    );
                    reader.report(Finding::error(need.service.span, message).help(format!(
                        "list the `dependencies` of `{}` in its entry",
                        chosen[at].name
                    )));
                }
            }
        }
        at += 1;
    }
}
