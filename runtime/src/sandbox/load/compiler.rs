//! Finds the native code of a component, or has it made: once for all that ask for the same component at a time.

use super::artifact::Artifact;
use super::cache::ArtifactCache;
use super::child::{ChildLimits, compile_in_child};
use super::compile::compile;
use super::error::{LoadError, Unloadable};
use super::survey::Facts;
use crate::sandbox::engine::{Codegen, SandboxSettings};
use crate::sandbox::fault::words;
use crate::sandbox::guest_runtime::cores;
use crate::sandbox::machine;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Compilations at a time, if memory allows: a slow one takes a share of the processor, not the turn of the others.
const MAX_COMPILATIONS: usize = 8;

/// How the compiler's process is started.
#[derive(Clone, Debug)]
pub struct CompilerProcess {
    /// A program that has the subcommand `compile-component`.
    pub program: PathBuf,
    /// What one compilation may take.
    pub limits: ChildLimits,
}

impl CompilerProcess {
    /// Uses the binary that is running, even if its file has been replaced since.
    pub fn of_this_program() -> Self {
        Self { program: "/proc/self/exe".into(), limits: ChildLimits::default() }
    }
}

impl PartialEq for CompilerProcess {
    fn eq(&self, other: &Self) -> bool {
        self.program == other.program
    }
}

impl Eq for CompilerProcess {}

/// A component that can be instantiated.
#[derive(Clone)]
pub(in crate::sandbox) struct Code {
    pub(in crate::sandbox) component: Component,
    pub(in crate::sandbox) facts: Arc<Facts>,
}

/// All compilations of a sandbox.
pub(in crate::sandbox) struct Compilers {
    engine: Engine,
    codegen: Codegen,
    cache: ArtifactCache,
    /// `None`: in this process, for programs that are not the binary.
    process: Option<CompilerProcess>,
    turns: Semaphore,
    under_way: Mutex<HashMap<String, Weak<OnceCell<Code>>>>,
}

impl Compilers {
    pub(in crate::sandbox) fn new(engine: &Engine, codegen: Codegen, settings: &SandboxSettings) -> Self {
        let process = settings.compiler.clone();
        let cache = match settings.cache_is_read_only {
            true => ArtifactCache::open_to_read(settings.cache.clone(), engine),
            false => ArtifactCache::open(settings.cache.clone(), engine),
        };
        Self {
            engine: engine.clone(),
            codegen,
            cache,
            turns: Semaphore::new(compilations(process.as_ref())),
            process,
            under_way: Mutex::default(),
        }
    }

    /// Finds or makes the native code of the component with this digest. Code that came with the binary does not wait for
    /// other compilations. `check` refuses a component by what was counted of it: also one that is too large for the engine,
    /// which does not load.
    pub(in crate::sandbox) async fn code(
        self: &Arc<Self>,
        bytes: Cow<'static, [u8]>,
        digest: &str,
        check: impl Fn(&Facts) -> Result<(), LoadError>,
    ) -> Result<Code, LoadError> {
        let cell = self.cell(digest);
        let code = cell.get_or_try_init(|| self.find_or_make(bytes, digest, &check)).await?;
        check(&code.facts)?;
        Ok(code.clone())
    }

    /// The slot for this component's code. It is dropped with its last holder.
    fn cell(&self, digest: &str) -> Arc<OnceCell<Code>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = under_way.get(digest).and_then(Weak::upgrade) {
            return cell;
        }
        under_way.retain(|_, cell| cell.strong_count() > 0);
        let cell = Arc::new(OnceCell::new());
        under_way.insert(digest.to_owned(), Arc::downgrade(&cell));
        cell
    }

    async fn find_or_make(
        self: &Arc<Self>,
        bytes: Cow<'static, [u8]>,
        digest: &str,
        check: impl Fn(&Facts) -> Result<(), LoadError>,
    ) -> Result<Code, LoadError> {
        let (compilers, key) = (self.clone(), digest.to_owned());
        let cached = spawn_blocking(move || compilers.find(&key)).await;
        if let Ok(Some(code)) = cached {
            return Ok(code);
        }

        let is_bundled = matches!(bytes, Cow::Borrowed(_));
        let turn = if is_bundled { None } else { self.turns.acquire().await.ok() };
        let artifact = self.make(bytes).await?;
        drop(turn);
        check(&artifact.facts)?;

        let (compilers, key) = (self.clone(), digest.to_owned());
        let stored = spawn_blocking(move || {
            let code = compilers.load(&artifact)?;
            compilers.cache.store(&artifact, &key);
            Ok::<_, Unloadable>(code)
        });
        Ok(stored.await.map_err(|lost| Unloadable::CompilerFailed(words(lost)))??)
    }

    fn find(&self, digest: &str) -> Option<Code> {
        let artifact = self.cache.load(digest)?;
        self.load(&artifact)
            .inspect_err(
                |error| tracing::debug!(%error, "a cached component does not load: it is compiled again"),
            )
            .ok()
    }

    async fn make(&self, bytes: Cow<'static, [u8]>) -> Result<Artifact, Unloadable> {
        if let Some(process) = &self.process {
            return compile_in_child(process, self.codegen, &bytes, cores()).await;
        }
        let engine = self.engine.clone();
        let compiling = spawn_blocking(move || compile(&engine, &bytes));
        compiling.await.map_err(|lost| Unloadable::CompilerFailed(words(lost)))?
    }

    fn load(&self, artifact: &Artifact) -> Result<Code, Unloadable> {
        #[expect(unsafe_code, reason = "how compiled code is loaded")]
        // SAFETY: the code has the digest that our own compiler wrote it with (`Artifact::read`). It comes from our child, or
        // from a folder that only this user can write (`ArtifactCache`). wasmtime checks the engine's version and settings.
        // The bytes are copied.
        let component = unsafe { Component::deserialize(&self.engine, artifact.code()) }
            .map_err(|error| Unloadable::CompilerFailed(words(format_args!("{error:#}"))))?;
        Ok(Code { component, facts: Arc::new(artifact.facts.clone()) })
    }
}

/// As many as half the machine's memory has room for, and two at least, so that a slow one does not hold up all others.
fn compilations(process: Option<&CompilerProcess>) -> usize {
    let Some(process) = process else { return cores() };
    let fitting = machine::memory_bytes() / 2 / process.limits.memory_bytes;
    usize::try_from(fitting).unwrap_or(usize::MAX).clamp(2, MAX_COMPILATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    const COMPONENT: &[u8] = include_bytes!(env!("BUNDLED_SERVICE_KEYS"));

    fn compilers(cache: Option<PathBuf>) -> Arc<Compilers> {
        let settings = SandboxSettings { cache, ..SandboxSettings::default() };
        Arc::new(Compilers::new(&Engine::default(), Codegen::default(), &settings))
    }

    #[tokio::test]
    async fn all_that_ask_at_a_time_share_one_compilation() {
        let compilers = compilers(None);
        let asked =
            join_all([(); 8].map(|()| compilers.code(Cow::Borrowed(COMPONENT), "digest", |_| Ok(())))).await;
        let codes: Vec<_> = asked.into_iter().map(Result::unwrap).collect();
        assert!(codes.iter().all(|code| Arc::ptr_eq(&code.facts, &codes[0].facts)));
        drop(codes);
        assert!(compilers.code(Cow::Borrowed(b"none"), "other", |_| Ok(())).await.is_err());
        assert_eq!(compilers.under_way.lock().unwrap().len(), 1, "the first is forgotten");
    }

    #[tokio::test]
    async fn compilations_wait_for_each_other_but_bundled_components_do_not() {
        let compilers = compilers(None);
        let all = u32::try_from(compilers.turns.available_permits()).unwrap();
        let others = compilers.turns.acquire_many(all).await.unwrap();
        assert!(compilers.code(Cow::Borrowed(COMPONENT), "bundled", |_| Ok(())).await.is_ok());
        let mut waits = std::pin::pin!(compilers.code(Cow::Owned(COMPONENT.to_vec()), "file", |_| Ok(())));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(100), &mut waits).await.is_err());
        drop(others);
        assert!(waits.await.is_ok());
    }

    #[tokio::test]
    async fn what_is_cached_is_not_compiled_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache");
        let first = compilers(Some(folder.clone()))
            .code(Cow::Borrowed(COMPONENT), "digest", |_| Ok(()))
            .await
            .unwrap();
        assert!(first.facts.is_fit_for_fast_path, "as every good provider that is quick");
        let cached = compilers(Some(folder)).find("digest").unwrap();
        assert_eq!(cached.facts, first.facts);
    }
}
