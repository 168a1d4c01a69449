//! A span, and how a task carries it.

use crate::trace_context::TraceContext;
use futures_util::future::Either;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    Tracer,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;
use std::borrow::Cow;

/// What makes the spans of a request. Every context with a span holds it.
pub(super) struct SpanSource(pub(super) SdkTracer);

/// A part of what is done for a request, from its begin until it is dropped. Without telemetry it
/// is empty, and so are all spans outside a request.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// Begins a part of the request that this task serves.
    pub fn begin(name: &'static str, kind: SpanKind) -> Self {
        Self(Context::map_current(|current| {
            let source = current.get()?;
            Some(start(
                source,
                current,
                SpanBuilder::from_name(name).with_kind(kind),
            ))
        }))
    }

    /// Begins a span in a context that says what makes it and what its parent is.
    pub(super) fn begin_in(context: &Context, builder: SpanBuilder) -> Self {
        Self(context.get().map(|source| start(source, context, builder)))
    }

    /// Returns whether anything is kept of the span. If not, there is no need to find out what
    /// could be set.
    pub fn is_recorded(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|context| context.span().is_recording())
    }

    /// Sets an attribute. The value must hold no credential, no e-mail address and no query.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Sets the name, where it is known only at the end.
    pub fn rename(&self, name: impl Into<Cow<'static, str>>) {
        if let Some(context) = &self.0 {
            context.span().update_name(name);
        }
    }

    /// Marks the span as failed. `kind` is one of few words, for `error.type`.
    pub fn fail(&self, kind: impl Into<Cow<'static, str>>) {
        if let Some(context) = &self.0 {
            let kind: Cow<'static, str> = kind.into();
            context
                .span()
                .set_attribute(KeyValue::new("error.type", kind));
            context.span().set_status(Status::error(""));
        }
    }

    /// Runs a future whose spans are children of this one.
    pub fn cover<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            Some(context) => Either::Left(future.with_context(context.clone())),
            None => Either::Right(future),
        }
    }

    /// Returns what a request that is sent within the span says of it. `None`: without telemetry.
    pub fn trace_context(&self) -> Option<TraceContext> {
        let context = self.0.as_ref()?;
        let span = context.span();
        let span = span.span_context();
        let (trace_id, span_id) = (span.trace_id().to_bytes(), span.span_id().to_bytes());
        TraceContext::new(
            trace_id,
            span_id,
            span.trace_flags().to_u8(),
            &span.trace_state().header(),
        )
    }
}

/// The span ends, also while a task that was begun within it still runs.
impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

fn start(SpanSource(tracer): &SpanSource, context: &Context, builder: SpanBuilder) -> Context {
    context.with_span(tracer.build_with_context(builder, context))
}

/// Makes a future that is run by another task a part of the request that this task serves.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    future.with_current_context()
}

/// The caller's span.
pub(super) fn remote(caller: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(caller.trace_id()),
        SpanId::from_bytes(caller.parent_id()),
        TraceFlags::new(caller.flags()),
        true,
        caller.state().parse().unwrap_or_default(),
    )
}

/// A reference to the caller's span that makes it no parent.
pub(super) fn link_to(caller: &TraceContext) -> Link {
    Link::with_context(remote(caller))
}
