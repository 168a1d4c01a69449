//! Runs the cases against a provider, and judges its answers.

use super::report::{Level, Report, Timings};
use super::tokens::{self, Odd};
use portcullis_auth::{
    BearerToken, CallFault, CodeVerdict, LoginResponse, LogoutVerdict, PasswordProvider,
    PasswordVerdict, ProviderFault, RedirectProvider, RefreshProvider, RefreshVerdict,
    SessionVerdict, SignOutProvider, TokenVerdict,
};
use portcullis_sandbox::{
    Inspection, LoadedProvider, Need, Observed, ProviderSpec, Sandbox, WasmProvider,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Warm calls that are timed.
const TIMED_CALLS: usize = 50;
/// Most time for the timed calls.
const TIMING_PATIENCE: Duration = Duration::from_secs(2);
/// Failures of one kind after which the suite tries no more tokens.
const ENOUGH: usize = 3;
/// How often it is asked whether it takes tokens.
const SUPPORT_CALLS: usize = 8;
/// Above this part of its deadline a provider is too slow for a busy machine.
const SLOW_PART: u32 = 4;

/// A provider, and what its author says of it.
pub struct Subject {
    /// The provider with its settings and limits, and with every grant that it could ask for.
    pub spec: ProviderSpec,
    /// Tokens that it must know.
    pub known: Vec<String>,
}

/// Examines a provider. Calls `progress` with the number of tokens tried so far and the number of
/// all tokens.
pub async fn examine(
    sandbox: &Arc<Sandbox>,
    subject: Subject,
    progress: impl Fn(usize, usize),
) -> Report {
    let mut report = Report::new();
    let Subject { spec, known } = subject;
    let source = spec.source.clone();
    let start = Instant::now();
    let loading = sandbox.load(spec).await;
    let load = start.elapsed();

    // What is refused may still be a component, of which there is something to say.
    let inspection = match &loading {
        Ok(loaded) => Some(loaded.inspection.clone()),
        Err(_) => sandbox.inspect(&source).await.ok(),
    };
    if let Some(inspection) = &inspection {
        describe_needs(&mut report, inspection);
    }
    report.inspection = inspection;

    let loaded = match loading {
        Ok(loaded) => loaded,
        Err(refused) => {
            report.add("loads", Level::Failure, refused.to_string());
            return report;
        }
    };
    report.add(
        "loads",
        Level::Pass,
        "it loads, accepts its settings and says what it supports",
    );
    report.timings = Some(Timings {
        load: micros(load),
        ..Timings::default()
    });

    let provider = loaded.provider.clone();
    let mut examination = ProviderExamination {
        report,
        provider,
        notes: CallNotes::default(),
    };
    examination.steadiness_of_support(&loaded).await;
    examination.sessions().await;
    examination.ways_in(&loaded.inspection).await;
    if loaded.takes_tokens {
        examination.time().await;
        examination.known_tokens(&known).await;
        examination
            .odd_tokens(&tokens::generate(&known), progress)
            .await;
        examination.hidden_state(&known).await;
    }
    examination.finish()
}

fn describe_needs(report: &mut Report, inspection: &Inspection) {
    let mut needs = BTreeMap::new();
    for (import, need) in &inspection.imports {
        match need {
            Need::HttpGrant => needs.insert("grants.http (the origins that it may call)", import),
            Need::KeyvalueGrant => needs.insert("grants.keyvalue (a bucket of its own)", import),
            Need::Nothing | Need::Never => None,
        };
    }

    let says = match needs.len() {
        0 => "it needs no grant beside its scopes".to_owned(),
        _ => format!(
            "an operator has to give it {}",
            needs.into_keys().collect::<Vec<_>>().join(" and ")
        ),
    };
    report.add("grants", Level::Pass, says);

    for (interface, what) in [
        ("wasi:filesystem/types", "files"),
        ("wasi:sockets/tcp", "sockets"),
    ] {
        if inspection
            .imports
            .iter()
            .any(|(import, _)| import.starts_with(interface))
        {
            let says = format!(
                "it imports {interface}, as some languages' libraries always do: there are no {what} for a provider, and \
                 opening one always fails"
            );
            report.add(what, Level::Warning, says);
        }
    }
}

struct ProviderExamination {
    report: Report,
    provider: Arc<WasmProvider>,
    notes: CallNotes,
}

/// What calls met on the way.
#[derive(Default)]
struct CallNotes {
    refusals: BTreeSet<String>,
    missed: BTreeSet<String>,
}

/// What may differ from one call to the next without being a fault.
#[derive(Debug, PartialEq, Eq)]
enum GuestAnswer {
    Verdict(TokenVerdict),
    Fault(&'static str),
}

impl ProviderExamination {
    async fn ask(&mut self, token: &str) -> Observed {
        let token = BearerToken::by_hand(token.to_owned());
        let observed = self
            .provider
            .observe(&token, self.provider.own_deadline())
            .await;
        self.report.peak_memory_bytes = self
            .report
            .peak_memory_bytes
            .max(observed.used.memory_bytes);
        self.notes
            .refusals
            .extend(observed.refusals.iter().cloned());
        self.notes
            .missed
            .extend(observed.missed_settings.iter().cloned());

        observed
    }

    async fn steadiness_of_support(&mut self, loaded: &LoadedProvider) {
        for _ in 0..SUPPORT_CALLS {
            match self.provider.supports_token().await {
                Ok(takes) if takes == loaded.takes_tokens => {}
                Ok(_) => {
                    let says = "supports-token answers now yes, now no: it is asked once, so the answer must not change";
                    return self.report.add("supports-token", Level::Failure, says);
                }
                Err(error) => {
                    return self
                        .report
                        .add("supports-token", Level::Failure, error.to_string());
                }
            }
        }

        let says = if loaded.takes_tokens {
            "it takes bearer tokens"
        } else {
            "it takes no bearer tokens"
        };
        self.report.add("supports-token", Level::Pass, says);
    }

    async fn sessions(&mut self) {
        let deadline = self.provider.own_deadline();
        let (level, says) = match self
            .provider
            .observe_session("a-session-that-nobody-opened", deadline)
            .await
        {
            Ok(SessionVerdict::NotRecognized) => (
                Level::Pass,
                "verify-session knows no session that nobody opened".to_owned(),
            ),
            Ok(SessionVerdict::Unusable(why)) => (
                Level::Failure,
                format!("verify-session accepted a session that nobody opened, and {why}"),
            ),
            Ok(SessionVerdict::Recognized(session)) => (
                Level::Failure,
                format!(
                    "verify-session accepted a session that nobody opened, as {:?}",
                    session.user_id
                ),
            ),
            Err(fault) if fault.fault.is_own_doing() => {
                (Level::Failure, format!("verify-session: {}", fault.fault))
            }
            Err(_) => (
                Level::Warning,
                "verify-session says that its store is out of reach".to_owned(),
            ),
        };

        self.report.add("verify-session", level, says);
    }

    /// Made-up credentials must open nothing, by any of the provider's ways to sign in.
    async fn ways_in(&mut self, inspection: &Inspection) {
        let provider = self.provider.clone();

        if inspection.takes_passwords() {
            let verdict = provider
                .check_password(
                    "a-user-that-nobody-made",
                    "a-made-up-password",
                    provider.own_deadline(),
                )
                .await;
            let verdict =
                verdict.map(|verdict| matches!(verdict, PasswordVerdict::InvalidCredentials));
            self.way_in(
                "password",
                "a made-up user with a made-up password",
                verdict,
            );
        }

        if inspection.redirects() {
            let made_up = |what: &str| format!("made-up-{what}");
            let response = LoginResponse {
                redirect_uri: "http://localhost/auth/callback".to_owned(),
                code: made_up("code"),
                nonce: made_up("nonce"),
                code_verifier: made_up("verifier"),
                issuer: None,
            };
            let verdict = provider
                .complete_login(response, provider.own_deadline())
                .await;
            self.way_in(
                "redirect",
                "a made-up code",
                verdict.map(|verdict| matches!(verdict, CodeVerdict::InvalidCode(_))),
            );
        }

        if inspection.refreshes() {
            let verdict = provider
                .refresh(
                    "a-refresh-token-that-nobody-minted",
                    provider.own_deadline(),
                )
                .await;
            self.way_in(
                "refresh",
                "a made-up refresh token",
                verdict.map(|verdict| matches!(verdict, RefreshVerdict::Expired)),
            );
        }

        if inspection.signs_out() {
            let verdict = provider
                .read_logout_token("a-made-up-logout-token", provider.own_deadline())
                .await;
            self.logout_token(verdict);
        }
    }

    fn way_in(&mut self, name: &'static str, what: &str, is_refused: Result<bool, CallFault>) {
        let (level, says) = match is_refused {
            Ok(true) => (Level::Pass, format!("it refuses {what}")),
            Ok(false) => (Level::Failure, format!("it opens a session for {what}")),
            Err(fault) if fault.fault.is_own_doing() => (
                Level::Failure,
                format!("asked about {what}: {}", fault.fault),
            ),
            Err(_) => (
                Level::Warning,
                format!("asked about {what}, it says that its store is out of reach"),
            ),
        };

        self.report.add(name, level, says);
    }

    /// A logout token that no identity provider signed must end no session.
    fn logout_token(&mut self, verdict: Result<LogoutVerdict, CallFault>) {
        let (level, says) = match verdict {
            Ok(LogoutVerdict::Invalid(_)) => {
                (Level::Pass, "it refuses a made-up logout token".to_owned())
            }
            Ok(LogoutVerdict::Person(_) | LogoutVerdict::Noted) => (
                Level::Failure,
                "it ends sessions for a made-up logout token".to_owned(),
            ),
            Err(fault) if fault.fault.is_own_doing() => (
                Level::Failure,
                format!("asked about a made-up logout token: {}", fault.fault),
            ),
            Err(_) => (
                Level::Warning,
                "asked about a made-up logout token, it says that its store is out of reach"
                    .to_owned(),
            ),
        };

        self.report.add("sign-out", level, says);
    }

    async fn time(&mut self) {
        let cold = self.ask("an-unknown-token").await.used.elapsed;
        let mut times = Vec::new();
        let patience = Instant::now() + TIMING_PATIENCE;
        while times.len() < TIMED_CALLS && Instant::now() < patience {
            times.push(self.ask("an-unknown-token").await.used.elapsed);
        }
        times.sort_unstable();

        let (warm, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        let load = self.report.timings.map_or(0, |timings| timings.load);
        self.report.timings = Some(Timings {
            load,
            cold: micros(cold),
            warm: micros(warm),
            slowest: micros(slowest),
        });

        let deadline = self.provider.deadline();
        let (level, verdict) = if warm > deadline / SLOW_PART {
            (Level::Warning, "slow")
        } else {
            (Level::Pass, "quick enough")
        };

        let says = format!(
            "a call takes {:.2} ms warm and {:.2} ms cold, with a deadline of {} ms: {verdict}",
            millis(warm),
            millis(cold),
            deadline.as_millis()
        );
        self.report.add("speed", level, says);
    }

    async fn known_tokens(&mut self, known: &[String]) {
        for (place, token) in (1..).zip(known) {
            let observed = self.ask(token).await;
            let (level, says) = match observed.verdict {
                Ok(TokenVerdict::Recognized(claims)) => {
                    let scopes: Vec<_> = claims.scopes().map(ToString::to_string).collect();
                    (
                        Level::Pass,
                        format!(
                            "--token {place} is {} with scopes [{}]",
                            claims.principal(),
                            scopes.join(" ")
                        ),
                    )
                }
                Ok(TokenVerdict::NotRecognized) => {
                    (Level::Failure, format!("--token {place} is not recognised"))
                }
                Ok(TokenVerdict::Unusable(why)) => {
                    (Level::Failure, format!("--token {place}: {why}"))
                }
                Err(fault) => (Level::Failure, format!("--token {place}: {}", fault.fault)),
            };
            self.report.add("known tokens", level, says);
        }
    }

    /// The first mistake of each kind is reported with its token; the others are counted.
    async fn odd_tokens(&mut self, odd: &[Odd], progress: impl Fn(usize, usize)) {
        let mut mistakes: BTreeMap<&'static str, (Level, String, usize)> = BTreeMap::new();

        for (place, odd) in (1..).zip(odd) {
            progress(place, tokens::COUNT);
            let first = answer(self.ask(&odd.token).await);
            let found = match &first {
                Ok(GuestAnswer::Verdict(TokenVerdict::NotRecognized)) => None,
                Ok(GuestAnswer::Verdict(TokenVerdict::Recognized(claims))) => {
                    let says = format!(
                        "it accepted {}, which nobody issued, as {:?}",
                        odd.what,
                        claims.principal()
                    );
                    Some(("accepts nobody", Level::Failure, says))
                }
                Ok(GuestAnswer::Verdict(TokenVerdict::Unusable(why))) => {
                    let says = format!("it accepted {}, which nobody issued, and {why}", odd.what);
                    Some(("accepts nobody", Level::Failure, says))
                }
                Ok(GuestAnswer::Fault(kind)) if *kind == "unavailable" && self.has_store() => {
                    let says = "it says that its store is out of reach, as it is here".to_owned();
                    Some(("store", Level::Warning, says))
                }
                Ok(GuestAnswer::Fault(kind)) if *kind == "unavailable" => {
                    let says = format!(
                        "it says that its store is out of reach for {}, but it imports no store",
                        odd.what
                    );
                    Some(("store", Level::Failure, says))
                }
                Ok(GuestAnswer::Fault(kind)) => Some((
                    "no faults",
                    Level::Failure,
                    format!("{kind} on {}", odd.what),
                )),
                Err(fault) => Some((
                    "no faults",
                    Level::Failure,
                    format!("{fault} on {}", odd.what),
                )),
            };

            if let Some((check, level, says)) = found {
                mistakes.entry(check).or_insert((level, says, 0)).2 += 1;
                // A provider that hangs on every token would keep an author waiting for minutes.
                if mistakes
                    .values()
                    .any(|(level, _, count)| *level == Level::Failure && *count >= ENOUGH)
                {
                    break;
                }
                continue;
            }

            let second = answer(self.ask(&odd.token).await);
            if first.as_ref().ok() != second.as_ref().ok() {
                let says = format!(
                    "its answers to {} differ from one call to the next",
                    odd.what
                );
                mistakes
                    .entry("same answer twice")
                    .or_insert((Level::Failure, says, 0))
                    .2 += 1;
            }
        }

        let count = odd.len();
        if mistakes.is_empty() {
            let says = format!(
                "{count} tokens that nobody issued: none accepted, no fault, the same answer twice"
            );
            return self.report.add("unknown tokens", Level::Pass, says);
        }
        for (check, (level, says, times)) in mistakes {
            let says = if times > 1 {
                format!("{says} (and {} more)", times - 1)
            } else {
                says
            };
            self.report.add(check, level, says);
        }
    }

    /// Asks twice in one instance, which no host does. A provider that then answers differently
    /// keeps state in memory.
    async fn hidden_state(&mut self, known: &[String]) {
        let unknown = "an-unknown-token".to_owned();
        for token in known.iter().chain([&unknown]) {
            let token = BearerToken::by_hand(token.clone());
            if let Ok([first, second]) = self.provider.ask_twice(&token).await
                && first != second
            {
                let says = "it keeps state in memory from one call to the next; the host makes a fresh instance for every \
                            call, so that state is lost: use wasi:keyvalue";
                return self.report.add("no hidden state", Level::Failure, says);
            }
        }

        self.report.add(
            "no hidden state",
            Level::Pass,
            "it keeps nothing in memory from one call to the next",
        );
    }

    /// A provider without one has nothing that could be out of reach.
    fn has_store(&self) -> bool {
        let imports = self
            .report
            .inspection
            .iter()
            .flat_map(|inspection| &inspection.imports);
        imports
            .into_iter()
            .any(|(_, need)| matches!(need, Need::HttpGrant | Need::KeyvalueGrant))
    }

    fn finish(mut self) -> Report {
        for refusal in &self.notes.refusals {
            self.report
                .add("refused by the host", Level::Warning, refusal.clone());
        }

        if !self.notes.missed.is_empty() {
            let names: Vec<_> = self.notes.missed.iter().map(String::as_str).collect();
            let says = format!(
                "it looked for settings that it does not have: {}",
                names.join(", ")
            );
            self.report.add("settings", Level::Warning, says);
        }

        self.report
    }
}

/// A fault without what it used, so that two can be compared.
fn answer(observed: Observed) -> Result<GuestAnswer, String> {
    match observed.verdict {
        Ok(verdict) => Ok(GuestAnswer::Verdict(verdict)),
        Err(fault) => match fault.fault {
            ProviderFault::Unavailable(_) => Ok(GuestAnswer::Fault("unavailable")),
            other => Err(other.to_string()),
        },
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
