//! `dashboard.branding`: the name, the logo and the colour of the pages.

use super::section::{Reader, Section};
use crate::web::{Accent, Branding, Logo, MAX_LOGO_BYTES};
use portcullis_auth::is_visible_line;
use portcullis_home::atomic_file;
use std::io;
use std::path::Path;

/// Longest name of a dashboard, in characters: it must fit the head of a page on a phone.
const MAX_TITLE_CHARS: usize = 60;

pub(super) fn read_branding(section: &mut Section, reader: &mut Reader<'_>) -> Branding {
    let mut branding = section.section("branding", reader);
    let title = branding.parsed("title", reader, title);
    let logo = read_logo(&mut branding, reader);
    let accent = branding.parsed("accent", reader, str::parse::<Accent>);
    branding.finish(reader);
    Branding {
        title,
        logo,
        accent,
    }
}

fn title(text: &str) -> Result<String, String> {
    match is_visible_line(text, &(1..=MAX_TITLE_CHARS)) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "must be 1 to {MAX_TITLE_CHARS} visible characters, without space around them"
        )),
    }
}

/// The file is read with the configuration, so that one that is no image is a mistake with a place,
/// and a change of it is a change of the settings.
fn read_logo(section: &mut Section, reader: &mut Reader<'_>) -> Option<Logo> {
    let name = section.full("logo");
    let node = section.take("logo")?;
    let path = reader.text(&name, &node)?;
    let path = path.expose();
    if path.is_empty() || path.contains(['\0', '\n']) {
        reader.mistakes.add(
            node.place,
            format!("`{name}` must be the path of a PNG or SVG file"),
        );
        return None;
    }
    reader.file(&name, node.place, path, logo_in)
}

fn logo_in(path: &Path) -> Result<Logo, String> {
    let said = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let content = atomic_file::read_at_most(path, MAX_LOGO_BYTES).map_err(said)?;
    Logo::new(content).map_err(|error| format!("{} {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load_text};
    use super::*;
    use std::fs;

    fn read(folder: &Path, text: &str) -> Result<Branding, String> {
        let text = format!("dashboard: {{branding: {text}}}");
        let file = Some(folder.join("portcullis.yaml"));
        let config = load_text(folder.to_owned(), file, &text, Environment::default());
        config
            .map(|config| config.dashboard.branding)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn name_logo_and_colour_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("logo.svg"), "<svg/>").unwrap();
        let text = "{title: Acme Agents, logo: logo.svg, accent: '#0a7d4f'}";
        let branding = read(folder.path(), text).unwrap();
        assert_eq!(branding.title.as_deref(), Some("Acme Agents"));
        assert_eq!(branding.logo, Logo::new(b"<svg/>".to_vec()).ok());
        assert_eq!(
            branding.accent.map(|accent| accent.to_string()).as_deref(),
            Some("#0a7d4f")
        );
        assert_eq!(read(folder.path(), "{}"), Ok(Branding::default()));
        assert_eq!(read(folder.path(), ""), Ok(Branding::default()));
    }

    #[test]
    fn logo_is_one_of_the_files_of_the_settings() {
        let folder = tempfile::tempdir().unwrap();
        let logo = folder.path().join("logo.svg");
        fs::write(&logo, "<svg/>").unwrap();
        let text = "dashboard: {branding: {logo: logo.svg}}";
        let file = Some(folder.path().join("portcullis.yaml"));
        let config =
            load_text(folder.path().to_owned(), file, text, Environment::default()).unwrap();
        assert!(config.files.contains(&logo), "{:?}", config.files);
    }

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("page.html"), "<html></html>").unwrap();
        let too_long = usize::try_from(MAX_LOGO_BYTES).unwrap() + 1;
        fs::write(folder.path().join("long.svg"), "<svg/>".repeat(too_long)).unwrap();
        for (text, complaint) in [
            ("{name: a}", "unknown key `name` in `dashboard.branding`"),
            (
                "{title: ''}",
                "`dashboard.branding.title`: must be 1 to 60 visible characters",
            ),
            ("{title: ' a'}", "without space around them"),
            ("{title: \"a\\u202eb\"}", "visible characters"),
            ("{title: 5}", "`dashboard.branding.title` must be a string"),
            ("{accent: red}", "must be a colour as #rrggbb"),
            ("{accent: '#fff'}", "must be a colour as #rrggbb"),
            ("{accent: '#0a7d4f;}'}", "must be a colour as #rrggbb"),
            ("{logo: 5}", "`dashboard.branding.logo` must be a string"),
            ("{logo: ''}", "must be the path of a PNG or SVG file"),
            ("{logo: none.png}", "cannot read"),
            (
                "{logo: page.html}",
                "is neither a PNG image nor an SVG document",
            ),
            ("{logo: long.svg}", "it is too long"),
        ] {
            let found = read(folder.path(), text).expect_err(text);
            assert!(
                found.lines().count() == 1 && found.contains(complaint),
                "{text}: {found}"
            );
        }
        let long = format!("{{title: {}}}", "x".repeat(61));
        assert!(read(folder.path(), &long).is_err());
    }
}
