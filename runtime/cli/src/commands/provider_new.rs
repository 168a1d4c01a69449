use super::UsageError;
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use portcullis_author::scaffold::{Language, Project, ProjectName, ProviderKind};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Name of the provider and of the directory that is created
    name: String,
    /// Programming language
    #[arg(long, value_parser = languages())]
    lang: Language,
    /// What the provider verifies: bearer tokens, passwords, or sign-ins at an identity provider
    #[arg(long, value_parser = kinds(), default_value = ProviderKind::Token.name())]
    kind: ProviderKind,
}

fn languages() -> impl TypedValueParser<Value = Language> {
    let values = Language::ALL
        .map(|language| PossibleValue::new(language.name()).aliases(language.aliases()));
    PossibleValuesParser::new(values).try_map(|typed| {
        let is_it = |language: &Language| {
            language.name() == typed || language.aliases().contains(&typed.as_str())
        };
        Language::ALL
            .into_iter()
            .find(is_it)
            .ok_or("no such language")
    })
}

fn kinds() -> impl TypedValueParser<Value = ProviderKind> {
    PossibleValuesParser::new(ProviderKind::ALL.map(ProviderKind::name)).try_map(|typed| {
        ProviderKind::ALL
            .into_iter()
            .find(|kind| kind.name() == typed)
            .ok_or("no such kind")
    })
}

/// Writes the folder, or nothing.
pub(super) fn new(arguments: &NewArgs) -> Result<ExitCode> {
    let name = ProjectName::new(&arguments.name)
        .map_err(|bad| UsageError(format!("`{}` will not do: {bad}", arguments.name)))?;
    let project = Project {
        name,
        language: arguments.lang,
        kind: arguments.kind,
    };
    let folder = Path::new(project.name.as_str());
    write(&project, folder)?;
    let steps = project.steps()?;
    out!("Made {}. Fill in {}, then:\n", folder.display(), steps.edit);
    out!("  cd {}", folder.display());

    for step in steps.setup.iter().chain([&steps.build, &steps.test]) {
        out!("  {step}");
    }

    out!(
        "  portcullis provider check {} {}",
        steps.component,
        steps.check
    );
    Ok(ExitCode::SUCCESS)
}

fn write(project: &Project, folder: &Path) -> Result<()> {
    let files = project.files()?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let taken = format!("{} is there already; nothing was written", folder.display());
            return Err(UsageError(taken).into());
        }
        made => made.with_context(|| format!("cannot make {}", folder.display()))?,
    }

    for file in files {
        let path = folder.join(&file.path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, file.text).with_context(|| format!("cannot write {}", path.display()))?;
    }

    Ok(())
}
