//! The few fields of a certificate that rustls does not show: its dates and its subject (RFC 5280
//! section 4.1).

use jiff::Timestamp;
use std::fmt::Write;
use std::ops::Range;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The end of a certificate that has none (RFC 5280 section 4.1.2.5). It lies past the last
/// timestamp of jiff.
const ENDLESS: &str = "99991231235959";
/// The version of a certificate, which those of version 1 leave out.
const VERSION: u8 = 0xa0;

/// Attributes of a subject by the end of their identifier: 2.5.4.X.
const ATTRIBUTES: [(u8, &str); 6] = [
    (0x03, "CN"),
    (0x06, "C"),
    (0x07, "L"),
    (0x08, "ST"),
    (0x0a, "O"),
    (0x0b, "OU"),
];
const ATTRIBUTE_PREFIX: [u8; 2] = [0x55, 0x04];

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// Fields of one certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) validity: Validity,
    /// As RFC 4514 writes it, but in the order of the certificate: `O=Example,CN=ci`.
    pub(super) subject: String,
}

impl Fields {
    /// Reads a certificate in DER. `None`: it is not X.509.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Der(certificate).enter(SEQUENCE)?;
        let mut signed = outer.enter(SEQUENCE)?;
        if signed.tag() == Some(VERSION) {
            signed.skip()?;
        }

        // Serial number, algorithm, issuer.
        for _ in 0..3 {
            signed.skip()?;
        }

        let mut validity = signed.enter(SEQUENCE)?;
        let validity = Validity {
            from: validity.time()?,
            until: validity.time()?,
        };
        let subject = signed.enter(SEQUENCE)?.name()?;
        Some(Self { validity, subject })
    }
}

/// What is left to read of some DER (X.690 section 8.1).
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn tag(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes one value: its tag and its content.
    fn take(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // The length has 1 to 4 bytes of its own.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (
                    bytes
                        .iter()
                        .fold(0, |length, byte| (length << 8) | usize::from(*byte)),
                    rest,
                )
            }
            _ => return None,
        };

        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn skip(&mut self) -> Option<()> {
        self.take().map(|_| ())
    }

    /// Takes a value with this tag, to read what it consists of.
    fn enter(&mut self, tag: u8) -> Option<Self> {
        let (found, content) = self.take()?;
        (found == tag).then_some(Self(content))
    }

    /// Takes a time in one of the two forms of RFC 5280 section 4.1.2.5.
    fn time(&mut self) -> Option<Timestamp> {
        let (tag, content) = self.take()?;
        let text = std::str::from_utf8(content).ok()?;
        let digits = text
            .strip_suffix('Z')
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        let digits = match tag {
            UTC_TIME if digits.len() == 12 => {
                let century = if digits < "50" { "20" } else { "19" };
                format!("{century}{digits}")
            }
            GENERALIZED_TIME if digits == ENDLESS => return Some(Timestamp::MAX),
            GENERALIZED_TIME if digits.len() == 14 => digits.to_owned(),
            _ => return None,
        };

        let part = |range: Range<usize>| digits.get(range).unwrap_or_default();
        let (date, time) = (
            [part(0..4), part(4..6), part(6..8)],
            [part(8..10), part(10..12), part(12..14)],
        );
        format!("{}T{}Z", date.join("-"), time.join(":"))
            .parse()
            .ok()
    }

    /// Reads a sequence of sets of attributes.
    fn name(&mut self) -> Option<String> {
        let mut text = String::new();
        while !self.0.is_empty() {
            let mut set = self.enter(SET)?;
            let mut separator = if text.is_empty() { "" } else { "," };
            while !set.0.is_empty() {
                let mut attribute = set.enter(SEQUENCE)?;
                let identifier = attribute.enter(OBJECT_IDENTIFIER)?.0;
                let (_, value) = attribute.take()?;
                text.push_str(separator);
                write_attribute(&mut text, identifier, value);
                separator = "+";
            }
        }

        Some(text)
    }
}

fn write_attribute(text: &mut String, identifier: &[u8], value: &[u8]) {
    let known = identifier
        .strip_prefix(&ATTRIBUTE_PREFIX)
        .and_then(|rest| match rest {
            [last] => ATTRIBUTES.iter().find(|(end, _)| end == last),
            _ => None,
        });

    match known {
        Some((_, name)) => text.push_str(name),
        None => text.push_str(&hex::encode(identifier)),
    }
    text.push('=');
    for character in String::from_utf8_lossy(value).chars() {
        // Writing to a string does not fail.
        let _ = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => write!(text, "\\{character}"),
            _ if character.is_control() => write!(text, "{}", character.escape_default()),
            _ => write!(text, "{character}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    fn fields(pem: &str) -> Fields {
        Fields::of(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn dates_and_subject_are_read() {
        let good = fields(include_str!("../../../../tests/certificates/good.pem"));
        assert_eq!(good.subject, "CN=good");
        assert_eq!(good.validity.from.to_string(), "2020-01-01T00:00:00Z");
        assert_eq!(good.validity.until.to_string(), "2126-01-01T00:00:00Z");
        let expired = fields(include_str!("../../../../tests/certificates/expired.pem"));
        assert_eq!(expired.validity.until.to_string(), "2011-01-01T00:00:00Z");
    }

    #[test]
    fn certificate_that_is_cut_off_anywhere_is_none() {
        let pem = include_str!("../../../../tests/certificates/good.pem");
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        for length in 0..der.len() {
            assert_eq!(Fields::of(&der[..length]), None, "{length}");
        }
    }

    #[test]
    fn times_of_both_forms_are_read() {
        let time = |tag: u8, text: &str| {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
            der.extend(text.bytes());
            Der(&der).time().map(|time| time.to_string())
        };
        assert_eq!(
            time(UTC_TIME, "491231235959Z").as_deref(),
            Some("2049-12-31T23:59:59Z")
        );
        assert_eq!(
            time(UTC_TIME, "500101000000Z").as_deref(),
            Some("1950-01-01T00:00:00Z")
        );
        assert_eq!(
            time(GENERALIZED_TIME, "21260101000000Z").as_deref(),
            Some("2126-01-01T00:00:00Z")
        );
        assert_eq!(
            time(GENERALIZED_TIME, "99991231235959Z"),
            Some(Timestamp::MAX.to_string())
        );
        for (tag, text) in [
            (UTC_TIME, "491331235959Z"),
            (UTC_TIME, "4912312359Z"),
            (GENERALIZED_TIME, "21260101000000"),
            (GENERALIZED_TIME, "2126-101000000Z"),
            (OBJECT_IDENTIFIER, "491231235959Z"),
        ] {
            assert_eq!(time(tag, text), None, "{text}");
        }
    }

    #[test]
    fn values_cannot_pretend_to_be_attributes() {
        let mut text = String::new();
        write_attribute(&mut text, &[0x55, 0x04, 0x03], b"ci,O=Example\n");
        assert_eq!(text, "CN=ci\\,O\\=Example\\n");
        let mut text = String::new();
        write_attribute(&mut text, &[0x2a, 0x03], b"x");
        assert_eq!(text, "2a03=x");
    }
}
