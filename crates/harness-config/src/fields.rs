//! A map with known keys. Refuses unknown keys, and reads the others by the shape in the table.

use std::time::Duration;

use harness_model::Template;

use crate::diagnostics::Finding;
use crate::keys::{
    self, BUILD, HEALTH_CHECK, HOOKS, LIMITS, LOGS, RESOURCES, SERVICE, SYNONYMS, Section, Shape,
};
use crate::read::{Allow, Reader, Text};
use crate::source::Span;
use crate::suggest::{listed, nearest};
use crate::tree::{Key, Kind, Node};

/// The keys of one map.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub reader: Reader<'a>,
    pub section: &'static Section,
    pub span: Span,
    entries: &'a [(Key, Node)],
    /// Keys beside those of the section, which a type or probe adds.
    more: &'a [&'static keys::Key],
}

/// No key was written.
const NOTHING: &[(Key, Node)] = &[];

impl<'a> Fields<'a> {
    /// Opens a map. Reports a mistake and returns `None` if the node is something else.
    pub(crate) fn open(reader: Reader<'a>, section: &'static Section, node: &'a Node) -> Option<Self> {
        let entries = match &node.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => NOTHING,
            _ => {
                reader.report(Finding::error(
                    node.span,
                    format!(
                        "expected a map with the keys of {}, found {}",
                        section.title,
                        node.describe()
                    ),
                ));
                return None;
            }
        };
        Some(Self {
            reader,
            section,
            span: node.span,
            entries,
            more: &[],
        })
    }

    /// The same map with these keys beside those of its section.
    pub(crate) fn with<'b>(self, more: &'b [&'static keys::Key]) -> Fields<'b>
    where
        'a: 'b,
    {
        Fields { more, ..self }
    }

    /// The key of this name in the table, or among those that were added.
    fn key(&self, name: &str) -> Option<&'static keys::Key> {
        let added = self.more.iter().copied().find(|key| key.name == name);
        added.or_else(|| self.section.key(name))
    }

    /// Reports every required key that is missing (`owner` at `at` needs it), and every key that is not in the
    /// section, or not for this service type.
    pub(crate) fn check_keys(&self, owner: &str, at: Span, service_type: Option<&str>) {
        for key in self.section.required {
            self.require(key, owner, at);
        }
        for (key, _) in self.entries {
            if self.section.extensible && key.name.starts_with("x-") {
                continue;
            }
            let Some(known) = self.key(&key.name) else {
                self.reader.report(
                    Finding::error(key.span, format!("unknown key `{}`", key.name))
                        .maybe_help(self.suggestion(&key.name, service_type)),
                );
                continue;
            };
            if let Some(service_type) = service_type
                && !known.types.is_empty()
                && !known.types.contains(&service_type)
            {
                let message = format!("a {service_type} service has no `{}`", key.name);
                let types = listed(known.types.iter().copied(), "none");
                let help = match self.synonym(&key.name, Some(service_type)) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("only for type {types}"),
                };
                self.reader.report(Finding::error(key.span, message).help(help));
            }
        }
    }

    /// Whether a service of this type has the key.
    fn fits(&self, name: &str, service_type: Option<&str>) -> bool {
        self.key(name).is_some_and(|key| {
            key.types.is_empty() || service_type.is_none_or(|service_type| key.types.contains(&service_type))
        })
    }

    /// The key that means the same as a word from other tools.
    fn synonym(&self, word: &str, service_type: Option<&str>) -> Option<&'static str> {
        let mut synonyms = SYNONYMS.iter();
        let meant = synonyms.find(|(theirs, ours)| *theirs == word && self.fits(ours, service_type));
        meant.map(|(_, ours)| *ours)
    }

    fn suggestion(&self, word: &str, service_type: Option<&str>) -> Option<String> {
        let plain = word.to_lowercase().replace('-', "_");
        let added = self.more.iter().map(|key| key.name);
        let names = self.section.keys.iter().map(|key| key.name).chain(added);
        let names = || names.clone().filter(|name| self.fits(name, service_type));
        if let Some(name) = self
            .synonym(&plain, service_type)
            .or_else(|| nearest(&plain, names()))
        {
            return Some(format!("did you mean `{name}`?"));
        }
        if let Some(service_type) = service_type
            && let Some((section, key)) = inner_key(&plain, service_type)
        {
            return Some(match key == plain {
                true => format!("it belongs in `{}`", section.name),
                false => format!("did you mean `{key}` in `{}`?", section.name),
            });
        }
        (self.section.keys.len() <= 10).then(|| {
            format!(
                "the keys of {} are {}",
                self.section.title,
                listed(names(), "none")
            )
        })
    }

    /// The entry of a key, also if its value is empty.
    pub(crate) fn entry(&self, key: &'static str) -> Option<(&'a Key, &'a Node)> {
        debug_assert!(
            self.key(key).is_some(),
            "{key} is not in the table of {}",
            self.section.name
        );
        #[cfg(test)]
        self.reader
            .context
            .asked
            .borrow_mut()
            .insert((self.section.name, key));
        self.entries
            .iter()
            .find(|(k, _)| k.name == key)
            .map(|(k, node)| (k, node))
    }

    /// The place of a key, or of the whole map if the key is not written.
    pub(crate) fn key_span(&self, key: &'static str) -> Span {
        self.entry(key).map_or(self.span, |(key, _)| key.span)
    }

    /// The value of a key. An empty value is a mistake, except where a list or map is expected.
    pub(crate) fn get(&self, key: &'static str) -> Option<&'a Node> {
        let (written, node) = self.entry(key)?;
        if let Kind::Null = node.kind {
            if !self.shape(key).is_collection() {
                self.no_value(key, written);
            }
            return None;
        }
        Some(node)
    }

    /// Reports a key that has no value and needs one.
    pub(crate) fn no_value(&self, key: &str, written: &Key) {
        self.reader.report(
            Finding::error(written.span, format!("`{key}` has no value"))
                .help(format!("expected {}", self.shape(key).describe())),
        );
    }

    /// Whether a key is written.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    fn shape(&self, key: &str) -> Shape {
        self.key(key).map_or(Shape::Text, |key| key.shape)
    }

    fn numbers(&self, key: &str) -> bool {
        fn has_scalar(shape: Shape) -> bool {
            match shape {
                Shape::Scalar | Shape::Whole { .. } => true,
                Shape::List(item) | Shape::Map(item) => has_scalar(*item),
                Shape::Any(shapes) => shapes.iter().any(|shape| has_scalar(*shape)),
                _ => false,
            }
        }
        has_scalar(self.shape(key))
    }

    /// A string without addresses of services.
    pub(crate) fn text(&self, key: &'static str) -> Option<Text> {
        self.reader.text(self.get(key)?, self.numbers(key))
    }

    /// A path without addresses of services. Secret variables are allowed, because the variable of a path may have a
    /// name like `…_KEY`.
    pub(crate) fn path(&self, key: &'static str) -> Option<Text> {
        let node = self.get(key)?;
        let template = self.reader.template(node, false, Allow::Everything)?;
        Some(Text {
            value: template.expose()?,
            span: node.span,
        })
    }

    /// A string that may contain addresses, and secrets if allowed.
    pub(crate) fn template(&self, key: &'static str, allow: Allow) -> Option<Template> {
        self.reader.template(self.get(key)?, self.numbers(key), allow)
    }

    /// A boolean, `false` if not written.
    pub(crate) fn flag(&self, key: &'static str) -> bool {
        self.get(key)
            .and_then(|node| self.reader.bool(node))
            .unwrap_or(false)
    }

    /// A boolean.
    pub(crate) fn bool(&self, key: &'static str) -> Option<bool> {
        self.reader.bool(self.get(key)?)
    }

    /// A whole number within the table's bounds.
    pub(crate) fn whole(&self, key: &'static str) -> Option<u64> {
        let shape = self.shape(key);
        let (min, max) = match shape {
            Shape::Whole { min, max } => (min, max),
            _ => (0, u64::MAX),
        };
        self.reader.whole(self.get(key)?, min, max, &shape.describe())
    }

    /// A whole number that fits 32 bits.
    pub(crate) fn whole_u32(&self, key: &'static str) -> Option<u32> {
        self.whole(key).and_then(|number| u32::try_from(number).ok())
    }

    /// A whole number that fits 16 bits.
    pub(crate) fn whole_u16(&self, key: &'static str) -> Option<u16> {
        self.whole(key).and_then(|number| u16::try_from(number).ok())
    }

    /// A duration.
    pub(crate) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.reader.duration(self.get(key)?)
    }

    /// A duration that must be longer than zero.
    pub(crate) fn positive_duration(&self, key: &'static str) -> Option<Duration> {
        let node = self.get(key)?;
        let duration = self.reader.duration(node)?;
        if duration.is_zero() {
            self.reader.report(Finding::error(
                node.span,
                format!("`{key}` must be longer than zero"),
            ));
            return None;
        }
        Some(duration)
    }

    /// A size in bytes.
    pub(crate) fn size(&self, key: &'static str) -> Option<u64> {
        self.reader.size(self.get(key)?)
    }

    /// One of the words of the table.
    pub(crate) fn choice(&self, key: &'static str) -> Option<&'static str> {
        let words = match self.shape(key) {
            Shape::Choice(words) => words,
            _ => &[],
        };
        self.reader.choice(self.get(key)?, words, key)
    }

    /// A command.
    pub(crate) fn words(&self, key: &'static str) -> Option<Vec<Template>> {
        self.reader.words(self.get(key)?)
    }

    /// The items of a list; a single string counts as a list of one where the table says so.
    pub(crate) fn items(&self, key: &'static str) -> &'a [Node] {
        let Some(node) = self.get(key) else { return &[] };
        match &node.kind {
            Kind::List(items) => items,
            Kind::String(_) if matches!(self.shape(key), Shape::Any([Shape::Text, ..])) => {
                std::slice::from_ref(node)
            }
            _ => {
                self.wrong(key, node);
                &[]
            }
        }
    }

    /// Reports a value that is not of the table's shape.
    pub(crate) fn wrong(&self, key: &str, node: &Node) {
        let expected = self.shape(key).describe();
        self.reader.report(Finding::error(
            node.span,
            format!("`{key}` must be {expected}, found {}", node.describe()),
        ));
    }

    /// A list of strings without addresses of services.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<Text> {
        let numbers = self.numbers(key);
        self.items(key)
            .iter()
            .filter_map(|item| self.reader.text(item, numbers))
            .collect()
    }

    /// A list of strings without their places.
    pub(crate) fn strings(&self, key: &'static str) -> Vec<String> {
        self.texts(key).into_iter().map(|text| text.value).collect()
    }

    /// A list of strings that may contain addresses, and secrets if allowed.
    pub(crate) fn templates(&self, key: &'static str, allow: Allow) -> Vec<Template> {
        let numbers = self.numbers(key);
        self.items(key)
            .iter()
            .filter_map(|item| self.reader.template(item, numbers, allow))
            .collect()
    }

    /// The arguments of a program.
    pub(crate) fn arguments(&self, key: &'static str) -> Vec<Template> {
        let numbers = self.numbers(key);
        let mut out = Vec::new();
        for item in self.items(key) {
            if let Some(argument) = self.reader.template(item, numbers, Allow::References) {
                self.reader.check_argument(item.span, &argument);
                out.push(argument);
            }
        }
        out
    }

    /// The entries of a map with free keys.
    pub(crate) fn pairs(&self, key: &'static str) -> &'a [(Key, Node)] {
        let Some(node) = self.get(key) else { return &[] };
        match &node.kind {
            Kind::Map(entries) => entries,
            _ => {
                self.wrong(key, node);
                &[]
            }
        }
    }

    /// The keys of a section within this one.
    pub(crate) fn section(&self, key: &'static str, section: &'static Section) -> Option<Self> {
        self.section_with(key, section, &[])
    }

    /// The same with these keys beside those of the section.
    pub(crate) fn section_with(
        &self,
        key: &'static str,
        section: &'static Section,
        more: &'a [&'static keys::Key],
    ) -> Option<Self> {
        let node = self.get(key)?;
        let fields = Self::open(self.reader, section, node)?.with(more);
        fields.check_keys(&format!("`{key}`"), self.key_span(key), None);
        Some(fields)
    }

    /// Reports a required key if it is not written.
    pub(crate) fn require(&self, key: &'static str, owner: &str, at: Span) {
        if !self.has(key) {
            self.reader
                .report(Finding::error(at, format!("{owner} needs `{key}`")));
        }
    }
}

/// The section within a service of this type that has a key like this one.
fn inner_key(word: &str, service_type: &str) -> Option<(&'static Section, &'static str)> {
    let sections = || {
        [&HEALTH_CHECK, &LOGS, &LIMITS, &RESOURCES, &HOOKS, &BUILD]
            .into_iter()
            .filter(|section| {
                SERVICE
                    .key(section.name)
                    .is_some_and(|key| key.types.is_empty() || key.types.contains(&service_type))
            })
    };
    let exact = sections().find_map(|section| section.key(word).map(|key| (section, key.name)));
    exact.or_else(|| {
        sections().find_map(|section| {
            nearest(word, section.keys.iter().map(|key| key.name)).map(|name| (section, name))
        })
    })
}
