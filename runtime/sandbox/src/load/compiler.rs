//! Finds the native code of a component, or has it made: once for all that ask for the same
//! component at a time.

use super::artifact::Artifact;
use super::cache::{ArtifactCache, CodeKey};
use super::child::{ChildLimits, compile_in_child};
use super::compile::compile;
use super::error::{LoadError, Unloadable};
use super::survey::Facts;
use crate::engine::guest_runtime::cores;
use crate::engine::machine;
use crate::engine::{Codegen, SandboxSettings};
use crate::guest_text::words;
use crate::weak_map::WeakMap;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Compilations at a time, if memory allows: a slow one takes a share of the processor, not the
/// turn of the others.
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
        Self {
            program: "/proc/self/exe".into(),
            limits: ChildLimits::default(),
        }
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
pub(crate) struct Code {
    pub(crate) component: Component,
    pub(crate) facts: Arc<Facts>,
}

/// All compilations of a sandbox.
pub(crate) struct Compilers {
    engine: Engine,
    codegen: Codegen,
    cache: ArtifactCache,
    /// `None`: in this process, for programs that are not the binary.
    process: Option<CompilerProcess>,
    turns: Semaphore,
    /// The code of each component that is being found or made. An error leaves the cell empty, so
    /// the next waiter tries again.
    under_way: WeakMap<CodeKey, OnceCell<Code>>,
}

impl Compilers {
    pub(crate) fn new(engine: &Engine, codegen: Codegen, settings: &SandboxSettings) -> Self {
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
            under_way: WeakMap::default(),
        }
    }

    /// Finds or makes the native code of the component with this key. Code that came with the
    /// binary does not wait for other compilations. `check` refuses a component by what was counted
    /// of it: also one that is too large for the engine, which does not load.
    pub(crate) async fn code(
        self: &Arc<Self>,
        bytes: Cow<'static, [u8]>,
        key: &CodeKey,
        check: impl Fn(&Facts) -> Result<(), LoadError>,
    ) -> Result<Code, LoadError> {
        let cell = self.under_way.get_or_make(key.clone(), OnceCell::new);
        let code = cell
            .get_or_try_init(|| self.find_or_make(bytes, key, &check))
            .await?;
        check(&code.facts)?;
        Ok(code.clone())
    }

    async fn find_or_make(
        self: &Arc<Self>,
        bytes: Cow<'static, [u8]>,
        key: &CodeKey,
        check: impl Fn(&Facts) -> Result<(), LoadError>,
    ) -> Result<Code, LoadError> {
        let (compilers, wanted) = (self.clone(), key.clone());
        let cached = spawn_blocking(move || compilers.find(&wanted)).await;
        if let Ok(Some(code)) = cached {
            return Ok(code);
        }

        let is_bundled = matches!(bytes, Cow::Borrowed(_));
        let turn = if is_bundled {
            None
        } else {
            self.turns.acquire().await.ok()
        };
        let artifact = self.make(bytes, key.link_modules).await?;
        drop(turn);
        check(&artifact.facts)?;

        let (compilers, made) = (self.clone(), key.clone());
        let stored = spawn_blocking(move || {
            let code = compilers.load(&artifact)?;
            compilers.cache.store(artifact, &made);
            Ok::<_, Unloadable>(code)
        });
        Ok(stored
            .await
            .map_err(|lost| Unloadable::CompilerFailed(words(lost)))??)
    }

    fn find(&self, key: &CodeKey) -> Option<Code> {
        let artifact = self.cache.load(key)?;
        self.load(&artifact)
            .inspect_err(
                |error| tracing::debug!(%error, "a cached component does not load: it is compiled again"),
            )
            .ok()
    }

    async fn make(
        &self,
        bytes: Cow<'static, [u8]>,
        link_modules: bool,
    ) -> Result<Artifact, Unloadable> {
        if let Some(process) = &self.process {
            return compile_in_child(process, self.codegen, &bytes, link_modules, cores()).await;
        }
        let engine = self.engine.clone();
        let compiling = spawn_blocking(move || compile(&engine, &bytes, link_modules));
        compiling
            .await
            .map_err(|lost| Unloadable::CompilerFailed(words(lost)))?
    }

    fn load(&self, artifact: &Artifact) -> Result<Code, Unloadable> {
        #[expect(unsafe_code, reason = "how compiled code is loaded")]
        // SAFETY: the code has the digest that our own compiler wrote it with (`Artifact::read`).
        // It comes from our child, or from a folder that only this user can write, where its key is
        // under the digest (`ArtifactCache`). wasmtime checks the engine's version and settings. The bytes are
        // copied.
        let component = unsafe { Component::deserialize(&self.engine, artifact.code()) }
            .map_err(|error| Unloadable::CompilerFailed(words(format_args!("{error:#}"))))?;
        Ok(Code {
            component,
            facts: Arc::new(artifact.facts.clone()),
        })
    }
}

/// Returns how many components compile at once: as many as fit into half of the machine's memory,
/// and at least two, so that a slow one does not hold up all others.
fn compilations(process: Option<&CompilerProcess>) -> usize {
    let Some(process) = process else {
        return cores();
    };
    let fitting = machine::memory_bytes() / 2 / process.limits.memory_bytes;
    usize::try_from(fitting)
        .unwrap_or(usize::MAX)
        .clamp(2, MAX_COMPILATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    /// A small component that a toolchain made.
    fn component() -> &'static [u8] {
        portcullis_bundled::component("service-keys").unwrap()
    }

    fn key(digest: &str) -> CodeKey {
        CodeKey {
            digest: digest.to_owned(),
            link_modules: false,
        }
    }

    fn compilers(cache: Option<PathBuf>) -> Arc<Compilers> {
        let settings = SandboxSettings {
            cache,
            ..SandboxSettings::default()
        };
        Arc::new(Compilers::new(
            &Engine::default(),
            Codegen::default(),
            &settings,
        ))
    }

    #[tokio::test]
    async fn all_that_ask_at_a_time_share_one_compilation() {
        let compilers = compilers(None);
        let key_of_it = key("digest");
        let ask = |()| compilers.code(Cow::Borrowed(component()), &key_of_it, |_| Ok(()));
        let asked = join_all([(); 8].map(ask)).await;
        let codes: Vec<_> = asked.into_iter().map(Result::unwrap).collect();
        assert!(
            codes
                .iter()
                .all(|code| Arc::ptr_eq(&code.facts, &codes[0].facts))
        );
    }

    #[tokio::test]
    async fn waiter_tries_again_after_an_error_of_the_one_before_it() {
        let compilers = compilers(None);
        let key_of_all = key("digest");
        let code =
            |bytes: &'static [u8]| compilers.code(Cow::Borrowed(bytes), &key_of_all, |_| Ok(()));
        let asked = join_all([code(b"none"), code(component()), code(b"none")]).await;
        let worked: Vec<_> = asked.iter().map(Result::is_ok).collect();
        assert_eq!(worked, [false, true, true]);
    }

    #[tokio::test]
    async fn compilations_wait_for_each_other_but_bundled_components_do_not() {
        let compilers = compilers(None);
        let all = u32::try_from(compilers.turns.available_permits()).unwrap();
        let others = compilers.turns.acquire_many(all).await.unwrap();
        let (bundled, file) = (key("bundled"), key("file"));
        assert!(
            compilers
                .code(Cow::Borrowed(component()), &bundled, |_| Ok(()))
                .await
                .is_ok()
        );
        let mut waits =
            std::pin::pin!(compilers.code(Cow::Owned(component().to_vec()), &file, |_| Ok(())));
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(100), &mut waits)
                .await
                .is_err()
        );
        drop(others);
        assert!(waits.await.is_ok());
    }

    #[tokio::test]
    async fn what_is_cached_is_not_compiled_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache");
        let first = compilers(Some(folder.clone()))
            .code(Cow::Borrowed(component()), &key("digest"), |_| Ok(()))
            .await
            .unwrap();
        assert!(
            first.facts.is_fit_for_fast_path,
            "as every good provider that is quick"
        );
        let cached = compilers(Some(folder)).find(&key("digest")).unwrap();
        assert_eq!(cached.facts, first.facts);
    }
}
