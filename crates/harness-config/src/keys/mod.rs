//! The one table of keys. The reader refuses keys that are not in it, the JSON Schema and the reference are made from
//! it, and a test checks that every key in it is read. So the three always agree.

mod table;

pub(crate) use table::*;

/// The types that a service can have.
pub(crate) const SERVICE_TYPES: [&str; 5] = ["process", "docker", "compose", "remote", "package"];

/// An upper bound from here on is only a technical limit, and is not shown.
pub(crate) const WIDE: u64 = u32::MAX as u64;

/// The kinds of values that a key can have.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A string.
    Text,
    /// A string, or a number kept as written.
    Scalar,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Whole {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Seconds as a number, or `500ms`, `2m`.
    Duration,
    /// Bytes as a number, or `64MiB`.
    Size,
    /// A command: a string that is split like a shell splits words, or a list of words.
    Words,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list.
    List(&'static Shape),
    /// A map with free keys.
    Map(&'static Shape),
    /// A map with the keys of a section.
    Section(&'static Section),
    /// Any of these.
    Any(&'static [Shape]),
}

impl Shape {
    /// Whether a missing value (`env:`) means an empty one.
    pub(crate) fn is_collection(self) -> bool {
        match self {
            Self::List(_) | Self::Map(_) | Self::Section(_) => true,
            Self::Any(shapes) => shapes.iter().any(|shape| shape.is_collection()),
            _ => false,
        }
    }

    /// The shape in words, as in "expected …".
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Text => "a string".into(),
            Self::Scalar => "a string or a number".into(),
            Self::Bool => "`true` or `false`".into(),
            Self::Whole { min: 0, max } if max >= WIDE => "a whole number".into(),
            Self::Whole { min, max } if max >= WIDE => format!("a whole number of at least {min}"),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration => "a duration".into(),
            Self::Size => "a size".into(),
            Self::Words => "a command (a string or a list of words)".into(),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            Self::List(Self::Text | Self::Scalar) => "a list of strings".into(),
            Self::List(_) => "a list".into(),
            Self::Map(Self::Section(section)) => format!("a map of names to {}", section.plural),
            Self::Map(_) => "a map".into(),
            Self::Section(section) => format!("a map with the keys of {}", section.title),
            Self::Any(shapes) => {
                let shapes: Vec<String> = shapes.iter().map(|shape| shape.describe()).collect();
                shapes.join(", or ")
            }
        }
    }
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// What it means, for the reference and for editors.
    pub doc: &'static str,
    /// The value or rule when it is not written.
    pub default: &'static str,
    /// The service types that have this key; empty: all types.
    pub types: &'static [&'static str],
}

impl Key {
    /// A key that every type has and that has no default.
    pub const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            doc,
            default: "",
            types: &[],
        }
    }
    /// The same with this value or rule when it is not written.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }
    const fn of(mut self, types: &'static [&'static str]) -> Self {
        self.types = types;
        self
    }
}

/// A map with known keys.
#[derive(Debug)]
pub struct Section {
    /// Its name in the schema's `$defs` and the reference.
    pub name: &'static str,
    /// The name of one such map in messages.
    pub title: &'static str,
    /// The name of several such maps in messages.
    pub plural: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// The required keys.
    pub required: &'static [&'static str],
    /// Whether keys that begin with `x-` are ignored, so that anchors can be put there.
    pub extensible: bool,
}

impl Section {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Words from other tools, and the keys that mean the same here.
pub(crate) const SYNONYMS: [(&str, &str); 22] = [
    ("depends_on", "dependencies"),
    ("depends", "dependencies"),
    ("environment", "env"),
    ("environments", "env"),
    ("healthcheck", "health_check"),
    ("readiness_probe", "health_check"),
    ("liveness_probe", "health_check"),
    ("test", "command"),
    ("cwd", "working_dir"),
    ("workdir", "working_dir"),
    ("directory", "working_dir"),
    ("cmd", "binary"),
    ("program", "binary"),
    ("executable", "binary"),
    ("stop_grace_period", "shutdown_timeout"),
    ("grace_period", "shutdown_timeout"),
    ("restart_policy", "restart"),
    ("mode", "policy"),
    ("published", "port"),
    ("ulimits", "limits"),
    ("logging", "logs"),
    ("kill_signal", "stop_signal"),
];
