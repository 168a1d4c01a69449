//! How a key of the configuration is described.

use serde_json::Value;

/// One key of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct SchemaKey {
    pub(super) name: &'static str,
    /// Sentences for the operator.
    pub(super) about: &'static str,
    pub(super) form: Form,
    /// What holds when the key is absent. `None`: nothing, or something that no constant can say.
    pub(super) default: Option<Scalar>,
    pub(super) is_required: bool,
    /// The key of the same map that takes this one's place. Exactly one of the two stands there.
    pub(super) unless: Option<&'static str>,
    /// Whether the key must have a value where it stands. Without one it would count as absent, and
    /// mean the contrary of what was begun.
    pub(super) needs_value: bool,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Text, or a reference to text. Holds an example.
    Text(&'static str),
    /// Text that should be a reference.
    Secret,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// A number from 0 to 1.
    Ratio,
    Boolean,
    /// One of these words, or a reference to one.
    OneOf(&'static [&'static str]),
    /// A reference to a file: `{file: PATH}`.
    File,
    List(&'static Form),
    Map(&'static [SchemaKey]),
    /// A map with exactly one of these keys.
    OneKey(&'static [SchemaKey]),
    /// A map whose names the operator chooses.
    Named(&'static Form),
    /// One of several forms.
    Either(&'static [Form]),
    /// The settings of a provider, which its component decides.
    Settings,
    /// Any value, which is not checked.
    Any,
}

/// The default of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar {
    Text(&'static str),
    Integer(i64),
    Boolean(bool),
}

/// A key that may be absent.
pub(super) const fn key(name: &'static str, about: &'static str, form: Form) -> SchemaKey {
    SchemaKey {
        name,
        about,
        form,
        default: None,
        is_required: false,
        unless: None,
        needs_value: false,
    }
}

impl SchemaKey {
    pub(super) const fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    /// A key that is required unless another one is there, and must not stand beside it.
    pub(super) const fn unless(self, other: &'static str) -> Self {
        Self {
            unless: Some(other),
            ..self
        }
    }

    /// A key that may be absent, but not stand without a value.
    pub(super) const fn with_value(self) -> Self {
        Self {
            needs_value: true,
            ..self
        }
    }

    pub(super) const fn default(self, default: Scalar) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    /// The unit of a number, which is the end of its name. `None`: it is a count, or no number.
    pub(super) fn unit(&self) -> Option<&'static str> {
        const UNITS: &[(&str, &str)] = &[
            ("_seconds", "seconds"),
            ("_ms", "milliseconds"),
            ("_mib", "MiB"),
            ("_chars", "characters"),
            ("_per_second", "per second"),
        ];
        UNITS
            .iter()
            .find(|(end, _)| self.name.ends_with(end))
            .map(|(_, unit)| *unit)
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => text.into(),
            Scalar::Integer(number) => number.into(),
            Scalar::Boolean(flag) => flag.into(),
        }
    }
}
