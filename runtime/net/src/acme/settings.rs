use crate::trust::Authorities;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use instant_acme::{ChallengeType, ExternalAccountKey};
use std::fmt;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// Let's Encrypt's directory for certificates that browsers accept.
pub const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Most domains of one certificate. Let's Encrypt signs no more.
pub const MAX_DOMAINS: usize = 100;
/// Most contacts of one account.
pub const MAX_CONTACTS: usize = 10;
/// Longest domain, and longest label of one, in bytes (RFC 1035 section 2.3.4).
const MAX_DOMAIN_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;
/// Longest URL of a directory, in bytes.
const MAX_URL_BYTES: usize = 2048;
/// Longest contact, in bytes: a mailbox has at most 254.
const MAX_CONTACT_BYTES: usize = 254 + MAILTO.len();
const MAILTO: &str = "mailto:";

/// Which certificate is ordered, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The domains that the certificate is for, in lower case. At least one.
    pub domains: Vec<String>,
    /// `mailto:` URLs by which the directory reaches the operator.
    pub contact: Vec<String>,
    /// The directory that signs.
    pub directory: DirectoryUrl,
    /// The authorities that alone are trusted for the directory. `None`: Mozilla's and the
    /// system's.
    pub ca: Option<Authorities>,
    /// How the directory looks whether the domains lead here.
    pub challenge: Challenge,
    /// What a new account is bound to. `None`: nothing. An account that is bound to another one is
    /// replaced by a new one.
    pub external_account: Option<ExternalAccount>,
}

/// How a directory looks whether a domain leads to the dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// By a TLS handshake at port 443 (RFC 8737).
    #[default]
    TlsAlpn01,
    /// By plain HTTP at port 80 (RFC 8555 section 8.3).
    Http01,
}

impl Challenge {
    /// Reads a name of ACME.
    ///
    /// # Errors
    /// It is another one.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "tls-alpn-01" => Ok(Self::TlsAlpn01),
            "http-01" => Ok(Self::Http01),
            _ => Err("must be \"tls-alpn-01\" or \"http-01\""),
        }
    }

    /// Where the directory connects to, and what must hold there.
    pub(super) fn way(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => {
                "port 443, and its connection must reach this dashboard without another end of TLS in between"
            }
            Self::Http01 => "port 80, where dashboard.redirect_http must answer",
        }
    }

    pub(super) fn kind(self) -> ChallengeType {
        match self {
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Self::Http01 => ChallengeType::Http01,
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        })
    }
}

/// An account of the operator that the directory knows from elsewhere (external account binding,
/// RFC 8555 section 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    kid: String,
    key: Zeroizing<Vec<u8>>,
}

impl ExternalAccount {
    /// Takes the key's identifier, and the key in base64url, both as the directory shows them.
    ///
    /// # Errors
    /// The key is empty, or is not in base64url. The text holds nothing of it.
    pub fn new(kid: String, key: &str) -> Result<Self, &'static str> {
        let digits = key.trim().trim_end_matches('=');
        let key = URL_SAFE_NO_PAD
            .decode(digits)
            .map(Zeroizing::new)
            .map_err(|_| "it is not in base64url")?;
        if key.is_empty() {
            Err("it is empty")
        } else {
            Ok(Self { kid, key })
        }
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn key(&self) -> ExternalAccountKey {
        ExternalAccountKey::new(self.kid.clone(), &self.key)
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ExternalAccount")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The URL of an ACME directory (RFC 8555 section 7.1.1): https, or http on a loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUrl {
    text: String,
    is_https: bool,
}

impl DirectoryUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is no URL, has a user or a fragment, or is plain http to another machine.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mistake = || format!("{text:?} is no URL like {DEFAULT_DIRECTORY}");
        if text.len() > MAX_URL_BYTES || text.contains(['@', '#']) {
            return Err(mistake());
        }

        let url: Uri = text.parse().map_err(|_| mistake())?;
        let host = url
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(mistake)?;

        match url.scheme_str() {
            Some("https") => Ok(Self {
                text: text.to_owned(),
                is_https: true,
            }),
            Some("http") if is_loopback(host) => Ok(Self {
                text: text.to_owned(),
                is_https: false,
            }),
            Some("http") => Err(format!(
                "{text:?} must be https: without TLS, anyone on the way can order certificates and read the account"
            )),
            _ => Err(mistake()),
        }
    }

    /// Let's Encrypt's directory for certificates that browsers accept.
    pub fn lets_encrypt() -> Self {
        Self {
            text: DEFAULT_DIRECTORY.to_owned(),
            is_https: true,
        }
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the directory is reached by TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Returns whether a URL that the directory names may be asked: https, or http to a loopback
    /// address if the directory is itself asked so. An https URL may name any host, this machine
    /// included.
    pub(super) fn may_lead_to(&self, url: &Uri) -> bool {
        match (url.scheme_str(), url.host()) {
            (Some("https"), Some(host)) => !host.is_empty(),
            (Some("http"), Some(host)) => !self.is_https && is_loopback(host),
            _ => false,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Reads a domain of the certificate, and gives it in lower case.
///
/// # Errors
/// It is a wildcard, an address, or no host name (RFC 1123 section 2.1).
pub fn parse_domain(text: &str) -> Result<String, String> {
    if text.starts_with("*.") {
        return Err(format!(
            "{text:?} is a wildcard, which a directory signs after a challenge over DNS alone, and none is answered here: list \
             each name"
        ));
    }
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!(
            "{text:?} is an address: certificates are ordered for host names alone"
        ));
    }
    if !text.is_ascii() {
        return Err(format!(
            "{text:?} has letters outside ASCII: write the form that begins with xn--"
        ));
    }

    let mut labels = text.split('.');
    let is_name = text.len() <= MAX_DOMAIN_BYTES && labels.all(is_label) && !ends_in_digits(text);
    if is_name {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "{text:?} is no host name like agent.example.com (without scheme or port)"
        ))
    }
}

fn is_label(label: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let has_length = (1..=MAX_LABEL_BYTES).contains(&label.len());
    has_length && label.bytes().all(is_allowed) && !label.starts_with('-') && !label.ends_with('-')
}

/// A last label of digits is a part of an address (WHATWG URL, "ends in a number").
fn ends_in_digits(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a contact: `mailto:` with one mailbox and nothing else (RFC 8555 section 7.3).
///
/// # Errors
/// It has another scheme, or is not one plain mailbox.
pub fn parse_contact(text: &str) -> Result<String, String> {
    let mistake = || format!("{text:?} is no contact like mailto:ops@example.com");
    let mailbox = text.strip_prefix(MAILTO).ok_or_else(mistake)?;
    let (user, host) = mailbox.split_once('@').ok_or_else(mistake)?;
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-./=^_`{|}~".contains(&byte);
    let is_plain =
        !user.is_empty() && user.bytes().all(is_allowed) && text.len() <= MAX_CONTACT_BYTES;
    if is_plain && parse_domain(host).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(mistake())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_an_external_account_is_in_base64url_and_not_shown() {
        for text in ["c2VjcmV0LQ", "c2VjcmV0LQ==", " c2VjcmV0LQ\n"] {
            let account = ExternalAccount::new("kid-1".to_owned(), text).unwrap();
            assert_eq!(*account.key, b"secret-");
            assert_eq!(
                format!("{account:?}"),
                "ExternalAccount { kid: \"kid-1\", .. }"
            );
        }
        for text in ["", "==", "a", "c2Vj cmV0", "c2Vj+mV0"] {
            assert!(
                ExternalAccount::new("kid-1".to_owned(), text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn domains_are_host_names_alone() {
        for (text, expected) in [
            ("agent.example.com", "agent.example.com"),
            ("Agent.Example.COM", "agent.example.com"),
            ("xn--caf-dma.example", "xn--caf-dma.example"),
            ("localhost", "localhost"),
            ("1.2.3.example", "1.2.3.example"),
        ] {
            assert_eq!(parse_domain(text).as_deref(), Ok(expected));
        }
        let (label, name) = ("a".repeat(64), format!("{}example", "a.".repeat(124)));
        for (text, complaint) in [
            ("*.example.com", "is a wildcard"),
            ("192.0.2.1", "is an address"),
            ("[2001:db8::1]", "is an address"),
            ("2001:db8::1", "is an address"),
            ("caf\u{e9}.example", "begins with xn--"),
            ("", "is no host name"),
            (".", "is no host name"),
            ("a..example", "is no host name"),
            ("agent.example.com.", "is no host name"),
            ("-a.example", "is no host name"),
            ("a-.example", "is no host name"),
            ("a_b.example", "is no host name"),
            ("a.*.example", "is no host name"),
            ("https://a.example", "is no host name"),
            ("a.example:443", "is no host name"),
            ("a b.example", "is no host name"),
            ("a.example\n", "is no host name"),
            ("192.0.2", "is no host name"),
            (label.as_str(), "is no host name"),
            (name.as_str(), "is no host name"),
        ] {
            let mistake = parse_domain(text).expect_err(text);
            assert!(
                mistake.contains(complaint) && mistake.lines().count() == 1,
                "{mistake}"
            );
        }
    }

    #[test]
    fn contacts_are_one_mailbox() {
        for text in ["mailto:ops@example.com", "mailto:ops+acme@example.com"] {
            assert_eq!(parse_contact(text).as_deref(), Ok(text));
        }
        let long = format!("mailto:{}@example.com", "a".repeat(243));
        for text in [
            "",
            "ops@example.com",
            "MAILTO:ops@example.com",
            "https://example.com",
            "tel:+12025551212",
            "mailto:",
            "mailto:ops",
            "mailto:@example.com",
            "mailto:ops@",
            "mailto:ops@a@example.com",
            "mailto:a@example.com,b@example.com",
            "mailto:ops@example.com?subject=x",
            "mailto:ops%40x@example.com",
            "mailto:o ps@example.com",
            "mailto:ops@192.0.2.1",
            "mailto:ops@example.com\n",
            long.as_str(),
        ] {
            let mistake = parse_contact(text).expect_err(text);
            assert!(mistake.contains("is no contact like mailto:"), "{mistake}");
        }
    }

    #[test]
    fn directory_is_reached_by_tls_unless_it_is_on_this_machine() {
        for (text, is_https) in [
            (DEFAULT_DIRECTORY, true),
            ("https://ca.internal:9000/acme/acme/directory?x=y", true),
            ("https://[2001:db8::1]/directory", true),
            ("http://127.0.0.1:14000/dir", false),
            ("http://[::1]:14000/dir", false),
            ("http://localhost:14000/dir", false),
        ] {
            let url = DirectoryUrl::parse(text).unwrap();
            assert_eq!((url.as_str(), url.is_https()), (text, is_https));
        }
        let long = format!("https://a.example/{}", "a".repeat(2048));
        for (text, complaint) in [
            ("http://ca.example/directory", "must be https"),
            ("http://192.0.2.1/directory", "must be https"),
            ("http://localhost.example/directory", "must be https"),
            ("", "is no URL"),
            ("/directory", "is no URL"),
            ("ca.example", "is no URL"),
            ("ftp://ca.example/", "is no URL"),
            ("https://user@ca.example/", "is no URL"),
            ("https://ca.example/#x", "is no URL"),
            ("https://ca.example/ x", "is no URL"),
            (long.as_str(), "is no URL"),
        ] {
            let mistake = DirectoryUrl::parse(text).expect_err(text);
            assert!(mistake.contains(complaint), "{mistake}");
        }
    }

    #[test]
    fn directory_elsewhere_leads_to_nothing_on_this_machine_in_the_clear() {
        let may = |directory: &str, url: &str| {
            DirectoryUrl::parse(directory)
                .unwrap()
                .may_lead_to(&url.parse().unwrap())
        };
        let local = "http://127.0.0.1:14000/dir";
        assert!(may(DEFAULT_DIRECTORY, "https://other.example/order"));
        assert!(may(local, "http://127.0.0.1:14001/order") && may(local, "https://other.example/"));
        for url in [
            "http://127.0.0.1:9119/",
            "http://other.example/",
            "/order",
            "ftp://other.example/",
        ] {
            assert!(!may(DEFAULT_DIRECTORY, url), "{url}");
        }
        assert!(!may(local, "http://192.0.2.1/"));
    }
}
