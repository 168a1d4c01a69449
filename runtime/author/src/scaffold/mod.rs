//! What `provider new` writes: a folder that builds as it stands, in the language that an author
//! has.
//!
//! **Invariant:** everything comes out of the binary; nothing is fetched, and nothing is written
//! here.

mod language;

pub use language::Language;

use include_dir::{Dir, DirEntry, include_dir};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, context};
use std::path::PathBuf;

static TEMPLATES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/templates");
static SDK: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/src");
static WIT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");
/// The contract that the Rust SDK is built for.
const CONTRACT: &str = include_str!("../../../../wit/provider.wit");
/// The contract of every other language: their bindings and helpers are written for its types.
const FROZEN_CONTRACT: &str = include_str!("../../../../wit/frozen/portcullis-auth-0.1.0.wit");
/// What wit-bindgen makes of the contract, by language: see `build.rs`.
static BINDINGS: Dir<'static> = include_dir!("$OUT_DIR/bindings");
const SDK_MANIFEST: &str = include_str!("../../../../guest-sdk/Cargo.toml");
/// Takes the place of the workspace's lints: without them, their expectations are not fulfilled.
const OWN_LINTS: &str = "[lints.rust]\nunfulfilled_lint_expectations = \"allow\"";

/// A file with this ending is a template; any other is copied.
const TEMPLATE: &str = ".jinja";
const LONGEST_NAME: usize = 64;

/// What a provider is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// Bearer tokens of services.
    Token,
    /// People with a password.
    Password,
    /// People who come from an identity provider.
    Redirect,
}

impl ProviderKind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Token, Self::Password, Self::Redirect];

    /// Returns the name that is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
            Self::Redirect => "redirect",
        }
    }

    /// The settings of the provider that is written.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Token => &["token"],
            Self::Password => &["username", "password", "access_token"],
            Self::Redirect => &["authorize_url", "code", "access_token"],
        }
    }
}

/// How a provider is worked on.
#[derive(Clone, Debug)]
pub struct Steps {
    /// The file to fill in.
    pub edit: String,
    /// Commands that fetch the tools, once.
    pub setup: Vec<String>,
    /// The command that builds.
    pub build: String,
    /// The command that tests natively.
    pub test: String,
    /// The path of the component that the build makes.
    pub component: String,
    /// What `provider check` is given.
    pub check: String,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a provider is named with small letters, digits and single hyphens, and begins with a letter"
)]
pub struct BadProjectName;

/// The name of a provider that is to be written: fit for a folder, a package, and every language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectName(String);

impl ProjectName {
    /// Takes a name.
    ///
    /// # Errors
    /// It is no name in some of the languages.
    pub fn new(name: &str) -> Result<Self, BadProjectName> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
        match begins_well && name.len() <= LONGEST_NAME && name.split('-').all(is_word) {
            true => Ok(Self(name.to_owned())),
            false => Err(BadProjectName),
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same as a word of a programming language.
    fn snake(&self) -> String {
        self.0.replace('-', "_")
    }
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Below the provider's folder.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// A provider that is to be written.
#[derive(Clone, Debug)]
pub struct Project {
    /// What it is called.
    pub name: ProjectName,
    /// What it is written in.
    pub language: Language,
    /// What it is for.
    pub kind: ProviderKind,
}

impl Project {
    /// Its files.
    ///
    /// # Errors
    /// A template is wrong: a fault of this binary's.
    pub fn files(&self) -> Result<Vec<File>, minijinja::Error> {
        let mut files = Vec::new();
        self.render(&TEMPLATES, self.language.name(), &mut files)?;
        self.render(&TEMPLATES, "common", &mut files)?;
        copy(&WIT, "deps", "wit/deps", &mut files);

        let (path, contract) = if self.language == Language::Rust {
            copy(&SDK, "", "portcullis-guest/src", &mut files);
            let manifest = SDK_MANIFEST.replace("[lints]\nworkspace = true", OWN_LINTS);
            files.push(File {
                path: "portcullis-guest/Cargo.toml".into(),
                text: manifest,
            });
            ("wit/provider.wit", CONTRACT)
        } else {
            self.render(&TEMPLATES, "world", &mut files)?;
            ("wit/deps/portcullis-auth.wit", FROZEN_CONTRACT)
        };

        files.push(File {
            path: path.into(),
            text: contract.to_owned(),
        });
        if let Some((bindings, folder)) = self.language.bindings() {
            copy(&BINDINGS, bindings, folder, &mut files);
        }
        Ok(files)
    }

    /// Commands, and words, of the language, with this provider's name in them.
    ///
    /// # Errors
    /// As for [`files`](Self::files).
    pub fn steps(&self) -> Result<Steps, minijinja::Error> {
        let facts = self.language.facts();
        let fill_in = |text: &str| {
            engine().render_str(
                text,
                context! { name => &self.name.0, snake => self.name.snake() },
            )
        };

        let settings = self
            .kind
            .settings()
            .iter()
            .map(|key| format!("--setting {key}={}", example(key)));
        let known =
            (self.kind == ProviderKind::Token).then(|| format!("--token {}", example("token")));

        Ok(Steps {
            edit: fill_in(facts.edit)?,
            setup: facts
                .setup
                .iter()
                .map(|step| fill_in(step))
                .collect::<Result<_, _>>()?,
            build: fill_in(facts.build)?,
            test: fill_in(facts.test)?,
            component: fill_in(facts.component)?,
            check: settings.chain(known).collect::<Vec<_>>().join(" "),
        })
    }

    fn render(
        &self,
        from: &'static Dir<'static>,
        folder: &str,
        files: &mut Vec<File>,
    ) -> Result<(), minijinja::Error> {
        let steps = self.steps()?;
        let values = context! {
            name => &self.name.0,
            snake => self.name.snake(),
            kind => self.kind.name(),
            settings => self.kind.settings().to_vec(),
            contract => self.language.contract(),
            language => self.language.name(),
            title => self.language.title(),
            compiled => self.language.drops_unused_imports(),
            edit => steps.edit,
            setup => steps.setup,
            build => steps.build,
            test => steps.test,
            component => steps.component,
            check => steps.check,
        };

        for (path, text) in texts(from, folder) {
            let file = match path.strip_suffix(TEMPLATE) {
                Some(path) => File {
                    path: named(path),
                    text: engine().render_str(text, &values)?,
                },
                None => File {
                    path: named(&path),
                    text: text.to_owned(),
                },
            };
            files.push(file);
        }
        Ok(())
    }
}

/// A template that asks for something that is not there is a mistake.
fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_syntax(whole_files());
    engine
}

/// Keeps the newline at the end of a file.
fn whole_files() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    syntax.expect("the delimiters are the usual ones")
}

/// A value that a setting of the written provider can have.
fn example(setting: &str) -> String {
    match setting {
        "authorize_url" => "https://idp.example/authorize".to_owned(),
        name => format!("my-{name}").replace('_', "-"),
    }
}

/// A file whose name would be taken for one of this repository's is kept under another.
fn named(path: &str) -> PathBuf {
    match path {
        "gitignore" => ".gitignore".into(),
        path => path.into(),
    }
}

fn copy(from: &'static Dir<'static>, folder: &str, to: &str, files: &mut Vec<File>) {
    let into = |(path, text): (String, &str)| File {
        path: PathBuf::from(to).join(path),
        text: text.to_owned(),
    };
    files.extend(texts(from, folder).into_iter().map(into));
}

/// The files below a folder, by their path from there.
fn texts(from: &'static Dir<'static>, folder: &str) -> Vec<(String, &'static str)> {
    let dir = if folder.is_empty() {
        Some(from)
    } else {
        from.get_dir(folder)
    };
    let mut found = Vec::new();
    dir.into_iter().for_each(|dir| collect(dir, &mut found));
    let below = |file: &'static include_dir::File<'static>| {
        let path = file.path().strip_prefix(folder).ok()?.to_str()?.to_owned();
        Some((path, file.contents_utf8()?))
    };
    found.into_iter().filter_map(below).collect()
}

fn collect(dir: &'static Dir<'static>, into: &mut Vec<&'static include_dir::File<'static>>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(dir, into),
            DirEntry::File(file) => into.push(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_and_kind_can_be_written() {
        for language in Language::ALL {
            for kind in ProviderKind::ALL {
                let name = ProjectName::new("my-provider").unwrap();
                let project = Project {
                    name,
                    language,
                    kind,
                };

                let files = project.files().unwrap();
                let has = |path: &str| files.iter().any(|file| file.path.to_str() == Some(path));
                assert!(has("README.md") && has(".gitignore"), "{language:?}");
                assert!(
                    has(&project.steps().unwrap().edit),
                    "{language:?} names the file to edit"
                );

                let mut paths: Vec<_> = files.iter().map(|file| &file.path).collect();
                paths.sort();
                paths.dedup();
                assert_eq!(paths.len(), files.len(), "no file twice");

                let package = format!("\npackage portcullis:auth@{};\n", language.contract());
                assert!(
                    files.iter().any(|file| file.text.contains(&package)),
                    "{language:?} has its contract"
                );
                for File { path, text } in &files {
                    assert!(
                        !text.contains("{%") && text.ends_with('\n'),
                        "{}",
                        path.display()
                    );
                }
            }
        }
    }

    #[test]
    fn names_that_would_not_do_everywhere_are_refused() {
        for good in ["a", "my-provider", "idp2", "a-1"] {
            assert!(ProjectName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a--b",
            "1a",
            "A",
            "a_b",
            "a b",
            "../a",
            "ä",
            &"a".repeat(65),
        ] {
            assert_eq!(ProjectName::new(bad), Err(BadProjectName), "{bad}");
        }
    }
}
