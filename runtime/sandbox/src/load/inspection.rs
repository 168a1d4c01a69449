use super::error::LoadError;
use super::survey::Facts;
use crate::contract;
use crate::host::grants::Capabilities;
use serde::Serialize;

/// What a component needs of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Nothing: every provider may have it.
    Nothing,
    /// An origin in `grants.http`.
    HttpGrant,
    /// The grant `grants.keyvalue: true`.
    KeyvalueGrant,
    /// Something that no provider may have.
    Never,
}

/// What an import needs, by its name without the version.
fn need_of(import: &str) -> Need {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    if interface.starts_with("wasi:")
        && !version.starts_with("0.2.")
        && !version.starts_with("0.1.")
    {
        return Need::Never;
    }

    let bounded = [
        "wasi:io/",
        "wasi:clocks/",
        "wasi:random/",
        "wasi:cli/",
        "wasi:filesystem/",
        "wasi:sockets/",
    ];
    match interface {
        "wasi:config/store" | "wasi:logging/logging" | "portcullis:auth/types" => Need::Nothing,
        "wasi:http/types" | "wasi:http/outgoing-handler" => Need::HttpGrant,
        "wasi:keyvalue/store" | "wasi:keyvalue/atomics" => Need::KeyvalueGrant,
        _ if bounded.iter().any(|package| interface.starts_with(package)) => Need::Nothing,
        _ => Need::Never,
    }
}

impl Need {
    /// Returns whether the operator grants it.
    fn is_met(self, capabilities: &Capabilities) -> bool {
        match self {
            Self::Nothing => true,
            Self::HttpGrant => !capabilities.http.is_empty(),
            Self::KeyvalueGrant => capabilities.bucket.is_some(),
            Self::Never => false,
        }
    }

    /// What an operator can do about an import that was refused.
    fn why_not(self) -> &'static str {
        match self {
            Self::Nothing => "in a form that this host does not have",
            Self::HttpGrant => {
                "which this entry does not grant: list the origins it may call under `grants.http`"
            }
            Self::KeyvalueGrant => {
                "which this entry does not grant: give it a bucket with `grants.keyvalue: true`"
            }
            Self::Never => "which no provider may have",
        }
    }
}

/// What a component is, without running it.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file's size in bytes.
    pub bytes: usize,
    /// The same without custom sections (names, debug information).
    pub code_bytes: u64,
    /// The digest that a configuration may pin.
    pub sha256: String,
    /// Core instances that every call makes.
    pub core_instances: u64,
    /// The version of the contract that it was built for, if it is a provider and this binary knows
    /// the version.
    pub contract: Option<&'static str>,
    /// What it can do.
    pub exports: Vec<String>,
    /// What it asks for, and what that needs.
    pub imports: Vec<(String, Need)>,
}

impl Inspection {
    pub(crate) fn new(
        bytes: usize,
        sha256: String,
        facts: &Facts,
        contracts: &'static [&'static str],
    ) -> Self {
        let is_exported = |version: &&str| {
            facts
                .exports
                .contains(&contract::interface("provider", version))
        };
        Self {
            bytes,
            code_bytes: facts.code_bytes,
            sha256,
            core_instances: facts.core_instances,
            contract: contracts.iter().copied().find(is_exported),
            exports: facts.exports.clone(),
            imports: facts
                .imports
                .iter()
                .map(|name| (name.clone(), need_of(name)))
                .collect(),
        }
    }

    /// Returns whether it exports this interface of the contract.
    fn exports(&self, name: &str) -> bool {
        self.contract
            .is_some_and(|version| self.exports.contains(&contract::interface(name, version)))
    }

    /// Returns whether it can sign people in.
    pub fn signs_people_in(&self) -> bool {
        self.takes_passwords() || self.redirects()
    }

    /// Returns whether it signs people in by a password.
    pub fn takes_passwords(&self) -> bool {
        self.exports("password")
    }

    /// Returns whether it sends people to an identity provider.
    pub fn redirects(&self) -> bool {
        self.exports("redirect")
    }

    /// Returns whether its sessions can be refreshed.
    pub fn refreshes(&self) -> bool {
        self.exports("refresh")
    }

    /// Returns whether it signs people out together with its identity provider.
    pub fn signs_out(&self) -> bool {
        self.exports("sign-out")
    }

    /// Checks that it is a provider and is granted everything that it imports. Returns the version
    /// of its contract.
    pub(crate) fn check(
        &self,
        capabilities: &Capabilities,
        accepted: &'static [&'static str],
    ) -> Result<&'static str, LoadError> {
        let version = self
            .contract
            .ok_or_else(|| self.why_no_provider(accepted))?;
        match self
            .imports
            .iter()
            .find(|(_, need)| !need.is_met(capabilities))
        {
            Some((name, need)) => Err(LoadError::NotGranted {
                name: name.clone(),
                why: need.why_not(),
            }),
            None => Ok(version),
        }
    }

    fn why_no_provider(&self, accepted: &'static [&'static str]) -> LoadError {
        match self
            .exports
            .iter()
            .find_map(|export| contract::version_in(export))
        {
            Some(found) => LoadError::UnknownContract {
                found: found.to_owned(),
                accepted,
            },
            None => LoadError::NotAProvider {
                exports: self.exports.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_told_apart() {
        for (import, need) in [
            ("wasi:config/store@0.2.0-rc.1", Need::Nothing),
            ("wasi:clocks/wall-clock@0.2.3", Need::Nothing),
            ("wasi:filesystem/preopens@0.2.0", Need::Nothing),
            ("portcullis:auth/types@0.1.0", Need::Nothing),
            ("wasi:http/outgoing-handler@0.2.0", Need::HttpGrant),
            ("wasi:http/types@0.2.3", Need::HttpGrant),
            ("wasi:http/incoming-handler@0.2.0", Need::Never),
            ("wasi:keyvalue/store@0.2.0-draft", Need::KeyvalueGrant),
            ("wasi:keyvalue/atomics@0.2.0-draft", Need::KeyvalueGrant),
            ("wasi:keyvalue/watcher@0.2.0-draft", Need::Never),
            ("wasi:logging/logging@0.1.0-draft", Need::Nothing),
            ("wasi:sockets/tcp@0.2.0", Need::Nothing),
            ("wasi:configuration/x", Need::Never),
            ("wasi:clocks/wall-clock@0.3.0", Need::Never),
            ("wasi:cli/environment", Need::Never),
            ("evil:thing/x@1.0.0", Need::Never),
        ] {
            assert_eq!(need_of(import), need, "{import}");
        }
    }
}
