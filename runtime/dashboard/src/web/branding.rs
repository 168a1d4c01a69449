//! How the pages name and show this dashboard: `dashboard.branding`.
//!
//! A logo is a PNG or an SVG image that the operator chose. It is shown as an image alone, and its
//! own answer forbids everything that an SVG document could do.

use super::{Dashboard, respond};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Largest logo, in bytes.
pub const MAX_LOGO_BYTES: u64 = 256 * 1024;
/// Longest side of a PNG logo, in pixels: a small file can be a picture that fills a browser's
/// memory.
const MAX_LOGO_PIXELS: u32 = 4096;
/// The name of a dashboard that sets none.
const DEFAULT_TITLE: &str = "Portcullis";

/// What the pages show of the operator's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branding {
    /// The name of the dashboard.
    pub title: Option<String>,
    /// The picture beside the name.
    pub logo: Option<Logo>,
    /// The colour of buttons and of the line above the page.
    pub accent: Option<Accent>,
}

/// The branding of pages that are answered where no configuration is at hand.
pub(super) static PLAIN: Branding = Branding {
    title: None,
    logo: None,
    accent: None,
};

impl Branding {
    /// The name that pages show.
    pub(super) fn name(&self) -> &str {
        self.title.as_deref().unwrap_or(DEFAULT_TITLE)
    }

    /// What the style sheet gets besides the fixed one. It contains hex digits of the operator's
    /// and nothing else.
    pub(super) fn style(&self) -> String {
        let rule = |accent: Accent| {
            format!(
                ":root {{ --accent: {accent}; --on-accent: {}; }}",
                accent.text_colour()
            )
        };
        self.accent.map(rule).unwrap_or_default()
    }
}

/// An image that browsers show, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Logo {
    bytes: Bytes,
    format: LogoFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogoFormat {
    Png,
    Svg,
}

/// Why a file is no logo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLogo {
    /// It is neither of the two formats.
    #[error("is neither a PNG image nor an SVG document (text that begins with <svg)")]
    NoImage,
    /// The picture is too large, or empty.
    #[error("has {width} by {height} pixels; each side must have 1 to {max}", max = MAX_LOGO_PIXELS)]
    Sides {
        /// Width of the picture, in pixels.
        width: u32,
        /// Height of the picture, in pixels.
        height: u32,
    },
}

impl Logo {
    /// Takes the content of a file.
    ///
    /// # Errors
    /// It is neither PNG nor SVG, or the picture is too large.
    pub fn new(content: Vec<u8>) -> Result<Self, BadLogo> {
        let format = match png_sides(&content) {
            Some((width, height)) => {
                let is_good = |side: u32| (1..=MAX_LOGO_PIXELS).contains(&side);
                if !is_good(width) || !is_good(height) {
                    return Err(BadLogo::Sides { width, height });
                }
                LogoFormat::Png
            }
            None if is_svg(&content) => LogoFormat::Svg,
            None => return Err(BadLogo::NoImage),
        };

        Ok(Self {
            bytes: content.into(),
            format,
        })
    }

    fn content_type(&self) -> &'static str {
        match self.format {
            LogoFormat::Png => "image/png",
            LogoFormat::Svg => "image/svg+xml",
        }
    }
}

impl fmt::Debug for Logo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Logo({:?}, {} bytes)",
            self.format,
            self.bytes.len()
        )
    }
}

/// Width and height of a PNG image, which its first chunk says (PNG specification, section 11.2.1).
fn png_sides(content: &[u8]) -> Option<(u32, u32)> {
    const START: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    let rest = content.strip_prefix(START)?;
    let (width, rest) = rest.split_first_chunk::<4>()?;
    let (height, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

/// Returns whether the root of a document is `svg`, behind a declaration, comments and a document
/// type without entities.
fn is_svg(content: &[u8]) -> bool {
    const BEFORE: [(&str, &str); 3] = [("<?", "?>"), ("<!--", "-->"), ("<!DOCTYPE", ">")];
    let Ok(text) = std::str::from_utf8(content) else {
        return false;
    };

    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some((_, end)) = BEFORE
        .into_iter()
        .find(|(start, _)| rest.starts_with(start))
    {
        let Some((_, after)) = rest.split_once(end) else {
            return false;
        };
        rest = after.trim_start();
    }

    let name_ends =
        |rest: &str| rest.starts_with(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/'));
    rest.strip_prefix("<svg").is_some_and(name_ends)
}

/// A colour of the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accent([u8; 3]);

/// A text that is no colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a colour as #rrggbb, for example \"#0a7d4f\"")]
pub struct BadAccent;

impl FromStr for Accent {
    type Err = BadAccent;

    fn from_str(text: &str) -> Result<Self, BadAccent> {
        let mut colour = [0; 3];
        let digits = text.strip_prefix('#').ok_or(BadAccent)?;
        hex::decode_to_slice(digits, &mut colour).map_err(|_| BadAccent)?;
        Ok(Self(colour))
    }
}

impl fmt::Display for Accent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", hex::encode(self.0))
    }
}

impl Accent {
    /// Black or white: the one with the higher contrast to the colour. The contrast is 4.5 or more
    /// for every colour.
    fn text_colour(self) -> &'static str {
        // Both contrasts are equal where (L + 0.05)^2 is 1.05 * 0.05 (WCAG 2.2, contrast ratio).
        const MIDDLE: f64 = 0.179;
        if self.luminance() > MIDDLE {
            "#000"
        } else {
            "#fff"
        }
    }

    /// The relative luminance, 0 to 1 (WCAG 2.2).
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.04045 {
                channel / 12.92
            } else {
                ((channel + 0.055) / 1.055).powf(2.4)
            }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

/// `GET /auth/logo`. Opened by itself, an SVG document neither runs scripts nor loads anything.
pub(super) async fn logo(State(dashboard): State<Arc<Dashboard>>) -> Response {
    const POLICY: &str =
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";
    let serving = dashboard.live.now();
    let Some(logo) = &serving.branding.logo else {
        return respond::not_found().await;
    };
    let headers = [
        (CONTENT_TYPE, logo.content_type()),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, logo.bytes.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(),
            sides.as_slice(),
            b"\x08\x06\0\0\0".as_slice(),
        ]
        .concat()
    }

    #[test]
    fn logo_is_a_png_of_a_bounded_size_or_an_svg_document() {
        assert_eq!(Logo::new(png(64, 32)).unwrap().content_type(), "image/png");
        for (width, height) in [(0, 1), (1, 0), (4097, 1), (1, u32::MAX)] {
            assert_eq!(
                Logo::new(png(width, height)),
                Err(BadLogo::Sides { width, height })
            );
        }
        for text in [
            "<svg/>",
            "<svg xmlns='http://www.w3.org/2000/svg'/>",
            "\u{feff}<?xml version='1.0'?>\n<!-- a > b -->\n<!DOCTYPE svg PUBLIC 'a' 'b'>\n<svg\nwidth='1'></svg>",
        ] {
            assert_eq!(
                Logo::new(text.into()).unwrap().content_type(),
                "image/svg+xml",
                "{text}"
            );
        }
        for content in [
            b"".as_slice(),
            b"GIF89a",
            b"<html><svg/></html>",
            b"<svgx/>",
            b"<svg",
            b"<!-- <svg/>",
            b"<!DOCTYPE svg [<!ENTITY a '>'>]><svg/>",
            b"<svg>\xff</svg>",
            b"\x89PNG\r\n\x1a\n",
        ] {
            assert_eq!(
                Logo::new(content.to_vec()),
                Err(BadLogo::NoImage),
                "{content:?}"
            );
        }
    }

    #[test]
    fn accent_is_six_hex_digits_with_text_that_stands_out() {
        for (colour, text) in [
            ("#000000", "#fff"),
            ("#ffffff", "#000"),
            ("#0a7d4f", "#fff"),
            ("#FFD400", "#000"),
            ("#757575", "#fff"),
            ("#767676", "#000"),
        ] {
            let accent: Accent = colour.parse().unwrap();
            assert_eq!(accent.to_string(), colour.to_ascii_lowercase());
            assert_eq!(accent.text_colour(), text, "{colour}");
        }
        for text in [
            "",
            "#",
            "#fff",
            "0a7d4f",
            "#0a7d4",
            "#0a7d4f0",
            "#0a7d4g",
            "# a7d4f",
            "red",
            "#0a7d4f;}",
        ] {
            assert_eq!(text.parse::<Accent>(), Err(BadAccent), "{text}");
        }
    }

    #[test]
    fn text_on_every_accent_is_readable() {
        for grey in 0..=255 {
            let accent = Accent([grey; 3]);
            let text = if accent.text_colour() == "#000" {
                0.0
            } else {
                1.0
            };
            let lighter = accent.luminance().max(text) + 0.05;
            let darker = accent.luminance().min(text) + 0.05;
            assert!(lighter / darker >= 4.5, "{accent}");
        }
    }

    #[test]
    fn style_names_the_accent_alone() {
        let branding = Branding {
            accent: "#0A7D4F".parse().ok(),
            ..Branding::default()
        };
        assert_eq!(
            branding.style(),
            ":root { --accent: #0a7d4f; --on-accent: #fff; }"
        );
        assert_eq!((PLAIN.style(), PLAIN.name()), (String::new(), "Portcullis"));
    }
}
