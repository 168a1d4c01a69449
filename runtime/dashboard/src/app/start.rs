//! The start of a dashboard that already listens: each provider is put into service as soon as it
//! is loaded.
//!
//! Until then another stands in its place that asks callers to come again. The dashboard is ready
//! when all are loaded, or after
//! [`PATIENCE`]: a component that takes longer to compile joins the others when it is compiled.

use super::StartError;
use super::gate::live_gate;
use super::loading::Loading;
use super::providers::{self, Providers};
use super::reload::Reloader;
use crate::web::Serving;
use portcullis_auth::ProviderName;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long the start may take before the dashboard is ready without the providers that are
/// missing.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time after which the dashboard reports that it accepts requests, although requests to providers
/// that are missing wait.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(6);
/// The same when there is no provider yet that could answer any.
const ANNOUNCE_WITHOUT_ANY_AFTER: Duration = Duration::from_secs(60);

/// What happens during the start.
enum StartEvent {
    /// One more provider is loaded or refused, or all of them are.
    Loaded,
    /// It is time to announce the dashboard, if it has a provider.
    Announce,
    /// It is time to announce the dashboard.
    AnnounceAnyway,
    /// It is time to be ready with what there is.
    OutOfPatience,
    /// The process is ending.
    Closed,
}

/// Loads the providers, and calls `announce` once, when they are loaded or soon. Returns when they
/// are, and when the process is ending. A reload waits until then.
///
/// # Errors
/// People must sign in, and no provider can sign a person in.
pub(super) async fn start(
    reloader: &mut Reloader,
    mut loading: Loading,
    mut closed: watch::Receiver<bool>,
    announce: impl FnOnce(),
) -> Result<(), StartError> {
    let mut time_to_announce = pin!(sleep(ANNOUNCE_AFTER));
    let mut announce_anyway = pin!(sleep(ANNOUNCE_WITHOUT_ANY_AFTER));
    let mut out_of_patience = pin!(sleep(PATIENCE));
    let mut may_announce = false;
    let mut announce = Some(announce);
    let mut is_ready = false;
    let mut reported = Vec::new();
    loop {
        let event = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => StartEvent::Closed,
            _ = loading.next() => StartEvent::Loaded,
            () = &mut time_to_announce, if !may_announce => StartEvent::Announce,
            () = &mut announce_anyway, if announce.is_some() => StartEvent::AnnounceAnyway,
            () = &mut out_of_patience, if !is_ready => StartEvent::OutOfPatience,
        };
        match event {
            StartEvent::Closed => return Ok(()),
            StartEvent::Loaded => {}
            StartEvent::Announce => may_announce = true,
            StartEvent::AnnounceAnyway => {
                announce.take().into_iter().for_each(|announce| announce());
            }
            StartEvent::OutOfPatience => is_ready = true,
        }

        let providers = reloader.loader.collect(&reloader.running, &loading);
        report_new(reloader, &providers, &mut reported);
        let serving = live_gate(
            &reloader.running,
            &providers,
            loading.left(),
            &reloader.people_access,
            &reloader.apps,
        )?;
        is_ready |= serving.is_ready;
        reloader.live.replace(Serving {
            is_ready,
            ..serving
        });
        let has_any = providers
            .reports
            .iter()
            .any(|report| report.outcome.is_ok());
        reloader.loader.adopt(providers);
        if loading.left() == 0 || may_announce && has_any {
            announce.take().into_iter().for_each(|announce| announce());
        }
        if loading.left() == 0 {
            return Ok(());
        }
    }
}

/// Logs and audits each outcome once.
fn report_new(reloader: &Reloader, providers: &Providers, reported: &mut Vec<ProviderName>) {
    for report in &providers.reports {
        if !reported.contains(&report.name) {
            providers::report(report, &reloader.audit);
            reported.push(report.name.clone());
        }
    }
}
