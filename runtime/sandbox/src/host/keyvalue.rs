//! `wasi:keyvalue` over a provider's own bucket.

use crate::clock::now;
use crate::guest_text::words;
use crate::host::HostState;
use crate::host::bindings::{atomics, store};
use crate::host::bucket::{Bucket, BucketError};
use crate::host::entries::Entries;
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker, Resource};

/// What a guest's handle stands for.
#[expect(unreachable_pub, reason = "the generated bindings export it again")]
pub struct OpenBucket(Arc<Bucket>);

type StoreAnswer<T> = wasmtime::Result<Result<T, store::Error>>;

pub(crate) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    atomics::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

impl HostState {
    /// Looks at the bucket at once, unless that has to wait: for its file, the first time, or for
    /// who is writing.
    async fn look<T: Send + 'static>(
        &mut self,
        handle: &Resource<OpenBucket>,
        look: impl FnOnce(&Entries) -> T + Send + 'static,
    ) -> StoreAnswer<T> {
        if let Some(entries) = self.table.get(handle)?.0.glimpse() {
            return Ok(Ok(look(&entries)));
        }
        self.on_bucket(handle, |bucket| Ok(look(&*bucket.entries()?)))
            .await
    }

    /// Runs an operation where waiting for a disk holds up no other. One that was begun is
    /// finished, even when the call that asked for it is cut off meanwhile.
    async fn on_bucket<T: Send + 'static>(
        &mut self,
        handle: &Resource<OpenBucket>,
        operation: impl FnOnce(&Bucket) -> Result<T, BucketError> + Send + 'static,
    ) -> StoreAnswer<T> {
        let bucket = self.table.get(handle)?.0.clone();
        let threads = bucket.threads.clone();
        let outcome = threads.run(move || operation(&bucket)).await?;
        Ok(self.told(outcome))
    }

    /// Writes a failure to the call's log field as well.
    fn told<T>(&self, outcome: Result<T, BucketError>) -> Result<T, store::Error> {
        outcome.map_err(|error| {
            self.record.refuse(&error.to_string());
            store::Error::Other(error.to_string())
        })
    }
}

impl store::Host for HostState {
    /// There is one bucket, and its name is the empty one or `default`: no provider can name
    /// another's.
    async fn open(&mut self, identifier: String) -> StoreAnswer<Resource<OpenBucket>> {
        match (&self.bucket, identifier.as_str()) {
            (Some(bucket), "" | "default") => {
                Ok(Ok(self.table.push(OpenBucket(bucket.clone()))?))
            }
            _ => {
                self.record.refuse(&words(format_args!(
                    "refused to open the bucket {identifier:?}: its own is \"\""
                )));
                Ok(Err(store::Error::NoSuchStore))
            }
        }
    }
}

impl store::HostBucket for HostState {
    async fn get(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
    ) -> StoreAnswer<Option<Vec<u8>>> {
        self.look(&bucket, move |entries| {
            entries.get(&key, now()).map(<[u8]>::to_vec)
        })
        .await
    }

    async fn set(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        value: Vec<u8>,
    ) -> StoreAnswer<()> {
        self.on_bucket(&bucket, move |bucket| bucket.set(&key, &value))
            .await
    }

    async fn delete(&mut self, bucket: Resource<OpenBucket>, key: String) -> StoreAnswer<()> {
        self.on_bucket(&bucket, move |bucket| bucket.delete(&key))
            .await
    }

    async fn exists(&mut self, bucket: Resource<OpenBucket>, key: String) -> StoreAnswer<bool> {
        self.look(&bucket, move |entries| entries.get(&key, now()).is_some())
            .await
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<OpenBucket>,
        cursor: Option<u64>,
    ) -> StoreAnswer<store::KeyResponse> {
        let skip = cursor.unwrap_or_default();
        let page = self
            .look(&bucket, move |entries| entries.list(skip, now()))
            .await?;
        Ok(page.map(|page| store::KeyResponse {
            keys: page.keys,
            cursor: page.next,
        }))
    }

    async fn drop(&mut self, bucket: Resource<OpenBucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for HostState {
    async fn increment(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        delta: u64,
    ) -> StoreAnswer<u64> {
        self.on_bucket(&bucket, move |bucket| bucket.increment(&key, delta))
            .await
    }
}
