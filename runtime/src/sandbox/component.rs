//! From a file to a component: read, measured, hashed, compiled, and looked at.

use super::contract::{self, CONTRACT_VERSIONS};
use super::engine::Sandbox;
use super::file_identity::FileIdentity;
use super::grants::Powers;
use super::limits::MAX_COMPONENT_BYTES;
use super::linking::{self, NotLinked};
use super::nesting;
use crate::atomic_file;
use crate::auth::ProviderFault;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io::{self, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use wasmtime::component::Component;

const WASM_MAGIC: &[u8] = b"\0asm";
/// The layer and version fields after the magic: a core module has version 1 and layer 0.
const CORE_VERSION: &[u8] = &[1, 0, 0, 0];
/// The module that imports of the older WASI name.
const PREVIEW_1: &[u8] = b"wasi_snapshot_preview1";
/// What an `.rlib` begins with.
const ARCHIVE_MAGIC: &[u8] = b"!<arch>\n";

/// Where a component comes from.
#[derive(Clone, Debug)]
pub enum ComponentSource {
    /// A file of the operator's.
    File(PathBuf),
    /// One that came with the binary.
    Bundled(&'static [u8]),
}

impl ComponentSource {
    /// The very bytes that are hashed and compiled.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub fn read(&self) -> Result<Cow<'static, [u8]>, LoadError> {
        self.read_with_identity().map(|(bytes, _)| bytes)
    }

    /// And whose bytes they are, if they can be known by it from now on.
    fn read_with_identity(&self) -> Result<(Cow<'static, [u8]>, Option<FileIdentity>), LoadError> {
        match self {
            Self::Bundled(bytes) => Ok((Cow::Borrowed(bytes), None)),
            Self::File(path) => read_bounded(path).map(|(bytes, identity)| (Cow::Owned(bytes), identity)),
        }
    }

    /// What the system says of the file now. It is opened for that: of a file that is only looked at, a network file system
    /// may tell what was true a minute ago.
    fn identity(&self) -> Option<FileIdentity> {
        match self {
            Self::Bundled(_) => None,
            Self::File(path) => atomic_file::open(path)
                .and_then(|file| file.metadata())
                .ok()
                .map(|found| FileIdentity::of(&found)),
        }
    }
}

fn read_bounded(path: &Path) -> Result<(Vec<u8>, Option<FileIdentity>), LoadError> {
    let failed = |source| LoadError::Unreadable { path: path.to_owned(), source: Arc::new(source) };
    let mut file = atomic_file::open(path).map_err(failed)?;
    let before = FileIdentity::of(&file.metadata().map_err(failed)?);
    let is_still = before.is_still(SystemTime::now());
    let mut bytes =
        Vec::with_capacity(usize::try_from(before.bytes.min(MAX_COMPONENT_BYTES)).unwrap_or_default());
    file.by_ref().take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_COMPONENT_BYTES {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    let after = FileIdentity::of(&file.metadata().map_err(failed)?);
    Ok((bytes, (is_still && after == before).then_some(before)))
}

/// Why a provider was not loaded. The others go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The file is over the cap.
    #[error("{path} is over {} MiB: is it the .wasm that was built for release?", MAX_COMPONENT_BYTES / 1024 / 1024)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("it is not WebAssembly (a .wasm file starts with the bytes 00 61 73 6d)")]
    NotWasm,
    /// The file is a Rust library that nobody linked.
    #[error(
        "it is a Rust library, not WebAssembly: put `crate-type = [\"cdylib\"]` under `[lib]` in its Cargo.toml"
    )]
    RustLibrary,
    /// The file is a core module.
    #[error(
        "it is a core module, not a component: build for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The file is a core module of a toolchain for the older WASI.
    #[error(
        "it is a core module that imports wasi_snapshot_preview1: build for wasm32-wasip2, or wrap it with \
         `wasm-tools component new --adapt` and the preview 1 adapter for reactors"
    )]
    Preview1Module,
    /// The bytes are not those that the configuration names.
    #[error("its SHA-256 digest is {found}, but the configuration says {expected}")]
    DigestDiffers {
        /// The file's.
        found: String,
        /// The configuration's.
        expected: String,
    },
    /// It does not compile.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// Components are nested in components, and so on.
    #[error("components are nested in it deeper than any toolchain nests them")]
    TooDeep,
    /// The compiler panics on it.
    #[error(
        "the compiler fails on it. Components that are composed of several (wac plug, componentize-qjs) cannot be loaded: \
         ship one that stands alone"
    )]
    CompilerFailed,
    /// It takes too long.
    #[error("it was not read and compiled within two minutes")]
    TooSlow,
    /// It is a component of something else.
    #[error(
        "it does not export {}, which every provider must: {}",
        contract::interface("provider", CONTRACT_VERSIONS[0]),
        what_it_is_instead(.exports)
    )]
    NotAProvider {
        /// What it exports instead.
        exports: Vec<String>,
    },
    /// It is a provider of a version of the contract that this binary does not know.
    #[error("it is built for version {found} of portcullis:auth; this binary accepts {}", accepted.join(", "))]
    UnknownContract {
        /// The component's.
        found: String,
        /// Ours.
        accepted: &'static [&'static str],
    },
    /// It imports something that is not there for it.
    #[error("it imports {name}, {why}")]
    NotGranted {
        /// The import.
        name: String,
        /// What could be done.
        why: &'static str,
    },
    /// An import or export has another type than the contract says.
    #[error("it does not fit the host: {0}")]
    Unfit(String),
    /// The provider cannot work with its settings.
    #[error("config: {0}")]
    BadSettings(String),
    /// The provider failed when it was asked what it supports.
    #[error("it failed when it was asked what it supports: {0}")]
    Faulted(ProviderFault),
    /// The provider vouches for a token that nobody issued.
    #[error("it accepted a token that the host had just made up, so it would accept any")]
    AcceptsAnything,
    /// The provider fails on a token that is merely unknown.
    #[error("it failed when it was asked about an unknown token: {0}")]
    FailedSelfCheck(ProviderFault),
    /// The provider has nothing to do.
    #[error("it takes no bearer tokens and signs nobody in, so it would never be asked")]
    Useless,
}

fn what_it_is_instead(exports: &[String]) -> String {
    match exports {
        [] => "it exports nothing. In Rust, `portcullis_guest::export!` is missing, or the library is no `cdylib`".to_owned(),
        exports if exports.iter().any(|name| name.starts_with("wasi:cli/run@")) => {
            "it is a program with a `main`. Build a library: `crate-type = [\"cdylib\"]` in Rust, a reactor elsewhere".to_owned()
        }
        exports => format!("is it built for the world of wit/provider.wit? It exports {}", exports.join(", ")),
    }
}

/// What a component needs of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Nothing: every provider may have it.
    Nothing,
    /// `grants.http`.
    HttpGrant,
    /// `grants.keyvalue`.
    KeyvalueGrant,
    /// Something that no provider may have.
    Never,
}

/// What an import needs, by its name without the version.
fn need_of(import: &str) -> Need {
    let interface = import.split('@').next().unwrap_or(import);
    let bounded =
        ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:filesystem/", "wasi:sockets/"];
    match interface {
        "wasi:config/store" | "wasi:logging/logging" | "portcullis:auth/types" => Need::Nothing,
        "wasi:http/types" | "wasi:http/outgoing-handler" => Need::HttpGrant,
        "wasi:keyvalue/store" | "wasi:keyvalue/atomics" => Need::KeyvalueGrant,
        _ if bounded.iter().any(|package| interface.starts_with(package)) => Need::Nothing,
        _ => Need::Never,
    }
}

impl Need {
    /// Does the operator give it?
    fn is_met(self, powers: &Powers) -> bool {
        match self {
            Self::Nothing => true,
            Self::HttpGrant => !powers.http.is_empty(),
            Self::KeyvalueGrant => powers.bucket.is_some(),
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
    /// The digest that a configuration may pin.
    pub sha256: String,
    /// The version of the contract that it was built for, if it is a provider and this binary knows the version.
    pub contract: Option<&'static str>,
    /// What it can do.
    pub exports: Vec<String>,
    /// What it asks for, and what that needs.
    pub imports: Vec<(String, Need)>,
}

impl Inspection {
    /// Does it export this interface of the contract?
    fn exports(&self, name: &str) -> bool {
        self.contract.is_some_and(|version| self.exports.contains(&contract::interface(name, version)))
    }

    /// Does it have a way to sign a person in?
    pub fn signs_people_in(&self) -> bool {
        self.takes_passwords() || self.redirects()
    }

    /// Does it sign people in by a password?
    pub fn takes_passwords(&self) -> bool {
        self.exports("password")
    }

    /// Does it send people to an identity provider?
    pub fn redirects(&self) -> bool {
        self.exports("redirect")
    }

    /// Can its sessions be refreshed?
    pub fn refreshes(&self) -> bool {
        self.exports("refresh")
    }

    /// Is it a provider, of which version of the contract, and is it granted everything that it imports?
    pub(super) fn check(
        &self,
        powers: &Powers,
        accepted: &'static [&'static str],
    ) -> Result<&'static str, LoadError> {
        let version = self.contract.ok_or_else(|| self.why_no_provider(accepted))?;
        match self.imports.iter().find(|(_, need)| !need.is_met(powers)) {
            Some((name, need)) => Err(LoadError::NotGranted { name: name.clone(), why: need.why_not() }),
            None => Ok(version),
        }
    }

    fn why_no_provider(&self, accepted: &'static [&'static str]) -> LoadError {
        match self.exports.iter().find_map(|export| contract::version_in(export)) {
            Some(found) => LoadError::UnknownContract { found: found.to_owned(), accepted },
            None => LoadError::NotAProvider { exports: self.exports.clone() },
        }
    }
}

/// Is it a component, going by its first bytes? What else it may be has a sentence of its own.
fn check_format(bytes: &[u8]) -> Result<(), LoadError> {
    let contains = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    match bytes.strip_prefix(WASM_MAGIC) {
        Some(rest) if !rest.starts_with(CORE_VERSION) => Ok(()),
        Some(_) if contains(PREVIEW_1) => Err(LoadError::Preview1Module),
        Some(_) => Err(LoadError::CoreModule),
        None if bytes.starts_with(ARCHIVE_MAGIC) => Err(LoadError::RustLibrary),
        None => Err(LoadError::NotWasm),
    }
}

/// The component with its core modules linked, if they can be. A bug of the linker's costs nothing but that.
fn link(component: &[u8]) -> Option<Vec<u8>> {
    let linked = panic::catch_unwind(|| linking::link(component)).unwrap_or(Err(NotLinked::Failed));
    linked.inspect_err(|why| tracing::debug!(%why, "the modules of a component are not linked")).ok()
}

impl Sandbox {
    /// Compiles (or finds compiled) and looks at a component, without running anything of it.
    ///
    /// # Errors
    /// It is no component.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, LoadError> {
        self.compile(bytes, None).map(|(_, inspection)| inspection)
    }

    /// Takes a core or two for as long as it takes: call it off the request path. A file that is as it was when it was
    /// compiled is not read again, unless its digest is pinned: a pin is about the bytes.
    pub(super) fn compile_source(
        &self,
        source: &ComponentSource,
        expected_digest: Option<&str>,
    ) -> Result<(Component, Inspection), LoadError> {
        if expected_digest.is_none()
            && let Some(known) = self.find_known(source)
        {
            return Ok(known);
        }
        let (bytes, identity) = source.read_with_identity()?;
        let (component, inspection) = self.compile(&bytes, expected_digest)?;
        if let Some(identity) = identity {
            self.cache.remember(&identity, &inspection.sha256);
        }
        Ok((component, inspection))
    }

    fn find_known(&self, source: &ComponentSource) -> Option<(Component, Inspection)> {
        let identity = source.identity()?;
        let digest = self.cache.digest_of(&identity)?;
        let cached = || self.cache.load(&self.engine, &digest).ok_or(());
        let component = self.compiling.share(&digest, cached).ok()?;
        let inspection = self.look_at(&component, usize::try_from(identity.bytes).ok()?, digest);
        Some((component, inspection))
    }

    fn compile(
        &self,
        bytes: &[u8],
        expected_digest: Option<&str>,
    ) -> Result<(Component, Inspection), LoadError> {
        check_format(bytes)?;
        let digest = hex::encode(Sha256::digest(bytes));
        if let Some(expected) = expected_digest
            && !expected.eq_ignore_ascii_case(&digest)
        {
            return Err(LoadError::DigestDiffers { found: digest, expected: expected.to_owned() });
        }
        let component = self.compiling.share(&digest, || match self.cache.load(&self.engine, &digest) {
            Some(component) => Ok(component),
            None => self.compile_anew(bytes, &digest),
        })?;
        let inspection = self.look_at(&component, bytes.len(), digest);
        Ok((component, inspection))
    }

    fn compile_anew(&self, bytes: &[u8], digest: &str) -> Result<Component, LoadError> {
        if !nesting::is_shallow(bytes) {
            return Err(LoadError::TooDeep);
        }
        let component = match link(bytes) {
            Some(linked) => self.compile_bytes(&linked).or_else(|why| {
                tracing::debug!(%why, "the linked modules of a component do not compile, so they stay as they are");
                self.compile_bytes(bytes)
            }),
            None => self.compile_bytes(bytes),
        }?;
        self.cache.store(&component, digest);
        Ok(component)
    }

    fn compile_bytes(&self, bytes: &[u8]) -> Result<Component, LoadError> {
        // A bug of the compiler's costs one provider, not the process: of components that are composed of others with
        // memories of their own it makes code that needs multi-memory, which is off, and panics.
        panic::catch_unwind(AssertUnwindSafe(|| Component::from_binary(&self.engine, bytes)))
            .map_err(|_| LoadError::CompilerFailed)?
            .map_err(|error| LoadError::Invalid(super::fault::words(&format!("{error:#}"))))
    }

    fn look_at(&self, component: &Component, bytes: usize, sha256: String) -> Inspection {
        let shape = component.component_type();
        let exports: Vec<_> = shape.exports(&self.engine).map(|(name, _)| name.to_owned()).collect();
        let imports = shape.imports(&self.engine).map(|(name, _)| (name.to_owned(), need_of(name))).collect();
        let is_exported = |version: &&str| exports.contains(&contract::interface("provider", version));
        let contract = self.contracts.iter().copied().find(is_exported);
        Inspection { bytes, sha256, contract, exports, imports }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxSettings;
    use std::fs;
    use std::time::{Duration, Instant};

    /// The smallest component, and one with a custom section of no content.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    const NAMED: &[u8] = b"\0asm\x0d\0\x01\0\0\x02\x01x";

    fn wait_until_still(source: &ComponentSource) -> FileIdentity {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let identity = source.identity().expect("the file is there");
            if identity.is_still(SystemTime::now()) {
                return identity;
            }
            assert!(Instant::now() < deadline, "the file never comes to rest");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    #[test]
    fn file_is_read_again_only_when_it_has_changed_or_is_pinned() {
        let home = tempfile::tempdir().unwrap();
        let settings =
            SandboxSettings { cache: Some(home.path().join("cache")), ..SandboxSettings::default() };
        let sandbox = Sandbox::start(&settings).unwrap();
        let write = |bytes| fs::write(home.path().join("provider.wasm"), bytes).unwrap();
        let source = ComponentSource::File(home.path().join("provider.wasm"));
        let load =
            |pin: Option<&str>| sandbox.compile_source(&source, pin).map(|(_, found)| found.sha256).unwrap();
        let digest = |bytes| hex::encode(Sha256::digest(bytes));

        // Just written: a change in the same moment would not show.
        write(NAMED);
        assert_eq!(load(None), digest(NAMED));
        write(EMPTY);
        assert_eq!(load(None), digest(EMPTY));
        let fresh = source.identity().unwrap();
        assert!(fresh.is_still(SystemTime::now()) || sandbox.cache.digest_of(&fresh).is_none());

        let identity = wait_until_still(&source);
        assert_eq!(load(None), digest(EMPTY));
        assert_eq!(sandbox.cache.digest_of(&identity), Some(digest(EMPTY)));
        // Whoever does not read the bytes believes what is remembered.
        sandbox.cache.remember(&identity, &digest(NAMED));
        assert_eq!(load(None), digest(NAMED));
        assert_eq!(load(Some(&digest(EMPTY))), digest(EMPTY));
        sandbox.cache.remember(&identity, "no digest of anything");
        assert_eq!(load(None), digest(EMPTY));
        sandbox.cache.remember(&identity, &digest(NAMED));
        write(EMPTY);
        assert_eq!(load(None), digest(EMPTY));
    }

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
            ("evil:thing/x@1.0.0", Need::Never),
        ] {
            assert_eq!(need_of(import), need, "{import}");
        }
    }
}
