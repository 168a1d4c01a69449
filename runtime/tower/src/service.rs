//! The layer and its service.

use crate::builder::GuardError;
use crate::guard::Guard;
use crate::load::NotLoaded;
use crate::refusal;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use portcullis_auth::{BoxFuture, Scope};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// The body of an answer: the layer's own, or the inner service's.
pub type GuardBody<B> = Either<Full<Bytes>, B>;

/// Puts a [`Guard`] around services. All of them, and all clones of the layer, share its providers.
#[derive(Clone)]
pub struct GuardLayer {
    guard: Arc<Guard>,
}

impl GuardLayer {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard: Arc::new(guard),
        }
    }

    /// Returns a layer with the same providers that requires another scope.
    ///
    /// # Errors
    /// The scope is malformed, or no provider may hand it out.
    pub fn requiring(&self, scope: &str) -> Result<Self, GuardError> {
        Ok(Self::new(self.guard.requiring(Scope::new(scope)?)?))
    }

    /// Returns the providers that could not be loaded. In the place of each, the guard answers 503.
    /// The log has them as errors.
    pub fn not_loaded(&self) -> &[NotLoaded] {
        self.guard.not_loaded()
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService {
            guard: self.guard.clone(),
            inner,
        }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone)]
pub struct GuardService<S> {
    guard: Arc<Guard>,
    inner: S,
}

impl<S, A, B> Service<Request<A>> for GuardService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    A: Send + 'static,
{
    type Response = Response<GuardBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    /// Always ready. Readiness may reserve a place of the inner service, which a caller who is not
    /// yet admitted must not hold: the inner service is asked after the decision.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let guard = self.guard.clone();
        let mut inner = self.inner.clone();

        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let principal = match guard.admit(&mut head.headers).await {
                Ok(principal) => principal,
                Err(denial) => return Ok(refusal::response(&denial).map(Either::Left)),
            };

            head.extensions.insert(principal);
            poll_fn(|context| inner.poll_ready(context)).await?;
            let response = inner.call(Request::from_parts(head, body)).await?;
            Ok(response.map(Either::Right))
        })
    }
}
