use crate::yaml::Position;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where in the file. `None`: in a variable of the environment, which the text names.
    pub place: Option<Position>,
    /// Which key, what is wrong, and what would be right.
    pub text: String,
}

/// Every mistake that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The configuration file.
    pub file: PathBuf,
    /// In the order of the file.
    pub mistakes: Vec<Mistake>,
    /// Every file that was read or looked for. A change of one may remove the mistake.
    pub files: BTreeSet<PathBuf>,
}

impl ConfigError {
    /// One mistake, which ended the reading of a file.
    pub(super) fn single(file: &Path, place: Position, text: String) -> Self {
        let mistake = Mistake {
            place: Some(place),
            text,
        };
        Self {
            files: [file.to_owned()].into(),
            file: file.to_owned(),
            mistakes: vec![mistake],
        }
    }

    /// Returns whether one of the mistakes is in this key or below it. `key` is the full name.
    pub fn concerns(&self, key: &str) -> bool {
        let name = format!("`{key}");
        self.mistakes
            .iter()
            .any(|mistake| mistake.text.contains(&name))
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(file: &Path, error: &io::Error) -> Self {
        let what = if file.is_symlink() {
            "the symbolic link "
        } else {
            ""
        };
        Self::single(
            file,
            Position::default(),
            format!("{what}cannot be read: {error}"),
        )
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            out.write_str(separator)?;
            if let Some(place) = mistake.place {
                write!(out, "{}: ", place.in_file(&self.file))?;
            }
            out.write_str(&mistake.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects mistakes, so that one run shows them all.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, place: Position, text: impl Into<String>) {
        self.0.push(Mistake {
            place: Some(place),
            text: text.into(),
        });
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn mentions(&self, text: &str) -> bool {
        self.0.iter().any(|mistake| mistake.text.contains(text))
    }

    pub(super) fn into_sorted(mut self) -> Vec<Mistake> {
        self.0.sort_by_key(|mistake| mistake.place);
        self.0
    }
}
