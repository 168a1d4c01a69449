//! The limits in the docs are those of the code: each row of a table of limits, and sentences that
//! name one.

use portcullis_sandbox::{ChildLimits, Limits};
use std::fs;
use std::path::Path;
use syn::{BinOp, Expr, ExprLit, Item, Lit};

fn project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect(path)
}

/// Returns a constant of a source, named from `runtime/`: its number, or its milliseconds.
fn constant(file: &str, name: &str) -> u64 {
    let source = syn::parse_file(&project(&format!("runtime/{file}"))).expect(file);
    value_of(&source.items, name).expect(name)
}

fn value_of(items: &[Item], name: &str) -> Option<u64> {
    let expression = items.iter().find_map(|item| match item {
        Item::Const(constant) if constant.ident == name => Some(&constant.expr),
        _ => None,
    });
    value(items, expression?)
}

/// Evaluates what constants are written as: numbers, products and quotients, other constants,
/// durations, `NonZeroU32::new`.
fn value(items: &[Item], expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => number.base10_parse().ok(),
        Expr::Binary(pair) => {
            let (left, right) = (value(items, &pair.left)?, value(items, &pair.right)?);
            match pair.op {
                BinOp::Mul(_) => left.checked_mul(right),
                BinOp::Div(_) => left.checked_div(right),
                _ => None,
            }
        }
        Expr::Path(path) => value_of(items, &path.path.get_ident()?.to_string()),
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else {
                return None;
            };
            let unit = match function.path.segments.last()?.ident.to_string().as_str() {
                "from_secs" => 1_000,
                "from_millis" | "new" => 1,
                _ => return None,
            };
            value(items, call.args.first()?)?.checked_mul(unit)
        }
        Expr::MethodCall(call) => value(items, &call.receiver),
        _ => None,
    }
}

fn thousands(number: u64) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", thousands(number / 1_000), number % 1_000)
}

fn number(file: &str, name: &str) -> String {
    thousands(constant(file, name))
}

fn kib(file: &str, name: &str) -> String {
    format!("{} KiB", thousands(constant(file, name) >> 10))
}

fn mib(file: &str, name: &str) -> String {
    format!("{} MiB", thousands(constant(file, name) >> 20))
}

fn ms(file: &str, name: &str) -> String {
    format!("{} ms", thousands(constant(file, name)))
}

fn seconds(file: &str, name: &str) -> String {
    thousands(constant(file, name) / 1_000)
}

/// How a row begins, and what it has to say. Nothing: no constant stands behind it.
type Row = (&'static str, Vec<String>);

/// Checks that the tables of a text have these rows, each of them once, and no other.
fn check(text: &str, expected: &[Row]) {
    let lines: Vec<&str> = text.lines().collect();
    let is_head = |at: usize| {
        lines
            .get(at + 1)
            .is_some_and(|next| next.starts_with("|--"))
    };
    let rows = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| line.starts_with("| ") && !is_head(*at));
    let rows: Vec<&str> = rows.map(|(_, line)| *line).collect();

    for row in &rows {
        let known = expected
            .iter()
            .filter(|(start, _)| row.starts_with(&format!("| {start}")));
        assert_eq!(known.count(), 1, "no test of this row, or two: {row}");
    }
    for (start, values) in expected {
        let row = rows
            .iter()
            .find(|row| row.starts_with(&format!("| {start}")))
            .expect(start);
        for value in values {
            assert!(row.contains(value), "{start}: {value} is not in {row}");
        }
    }
}

const LIMITS: &str = "sandbox/src/engine/limits.rs";
const SURVEY: &str = "sandbox/src/load/survey.rs";
const THROTTLE: &str = "auth/src/throttle.rs";
const ENTRIES: &str = "sandbox/src/host/entries.rs";
const KEPT_TOKENS: &str = "../providers/oidc/src/kept_tokens.rs";
const KEPT_GROUPS: &str = "../providers/session-tokens/src/kept_groups.rs";
const OUTBOUND: &str = "sandbox/src/host/outbound/mod.rs";
const PACE: &str = "sandbox/src/call/pace.rs";
const QUARANTINE: &str = "sandbox/src/guard/quarantine.rs";

#[test]
fn limits_of_providers_are_those_of_the_code() {
    let provider = Limits::default();
    let compiler = ChildLimits::default();
    let cell = |text: String| vec![format!("| {text} |")];
    check(
        &project("docs/limits.md"),
        &[
            (
                "**linear memory**",
                cell(format!("{} MiB", provider.memory_bytes >> 20)),
            ),
            (
                "**deadline**",
                vec![format!(
                    "| {},000 ms; 5,000 ms for `builtin:basic` |",
                    provider.deadline.as_secs()
                )],
            ),
            (
                "**bytes that reach the host**",
                cell(kib(LIMITS, "MAX_ANSWER_BYTES")),
            ),
            (
                "**calls in flight**",
                vec![
                    format!("| {} |", number(LIMITS, "MAX_CALLS_IN_FLIGHT")),
                    format!(
                        "up to {} ({} if",
                        ms(PACE, "LONG_SLOT_WAIT"),
                        ms(PACE, "SLOT_WAIT")
                    ),
                ],
            ),
            (
                "handles",
                vec![format!(
                    "| {} each; {} with",
                    number(LIMITS, "MAX_HANDLES"),
                    number(LIMITS, "MAX_HANDLES_WITH_HTTP")
                )],
            ),
            (
                "core instances",
                cell(format!(
                    "{}, {}, {}, {}",
                    provider.core_instances,
                    number(LIMITS, "MAX_TABLES"),
                    thousands(provider.table_elements as u64),
                    number(LIMITS, "MAX_MEMORIES")
                )),
            ),
            ("random bytes", cell(kib(LIMITS, "MAX_RANDOM_BYTES"))),
            ("guest stack", cell(kib(LIMITS, "MAX_STACK_BYTES"))),
            (
                "component file",
                cell(format!("{} MiB", provider.component_bytes >> 20)),
            ),
            (
                "deadline over all",
                vec![
                    ms("dashboard/src/web/gate_layer.rs", "CHAIN_DEADLINE"),
                    ms("tower/src/guard.rs", "CHAIN_DEADLINE"),
                ],
            ),
            (
                "sign-ins in flight",
                cell(number(LIMITS, "MAX_SIGN_INS_IN_FLIGHT")),
            ),
            ("**memory of all calls", vec![]),
            (
                "connections of all clients",
                vec![number("net/src/listen.rs", "MAX_CONNECTIONS")],
            ),
            ("connections of one address", vec![]),
            (
                "passwords tried",
                cell(format!(
                    "{} per minute",
                    number(THROTTLE, "ATTEMPTS_A_MINUTE")
                )),
            ),
            (
                "calls per second",
                cell(thousands(provider.calls_per_second.get().into())),
            ),
            (
                "**repeated faults**",
                vec![
                    format!(
                        "{} of the last {} calls",
                        number(QUARANTINE, "MAX_FAULTS"),
                        number(LIMITS, "JUDGED_CALLS")
                    ),
                    format!(
                        "{} s growing to {} s",
                        seconds(QUARANTINE, "FIRST_PAUSE"),
                        seconds(QUARANTINE, "MAX_PAUSE")
                    ),
                ],
            ),
            (
                "stdout and stderr",
                cell(kib("sandbox/src/host/output.rs", "MAX_OUTPUT_BYTES")),
            ),
            (
                "**compiling a component**",
                cell(format!(
                    "{} MiB, {} s, {} s",
                    thousands(compiler.memory_bytes >> 20),
                    compiler.cpu.as_secs(),
                    compiler.wall.as_secs()
                )),
            ),
            (
                "**instances of a component**",
                cell(number(SURVEY, "MAX_INSTANTIATIONS")),
            ),
            (
                "**declarations of a component**",
                cell(format!(
                    "{}; {}",
                    number(SURVEY, "MAX_DECLARATIONS"),
                    mib(SURVEY, "MAX_DECLARATION_BYTES")
                )),
            ),
            (
                "functions, elements in segments",
                cell(format!(
                    "{}, {}, {}, {}",
                    number(SURVEY, "MAX_FUNCTIONS"),
                    number(SURVEY, "MAX_SEGMENT_ELEMENTS"),
                    number(SURVEY, "MAX_DATA_SEGMENTS"),
                    number(SURVEY, "MAX_PARTS")
                )),
            ),
            ("scopes a provider may hand out", vec![]),
            (
                "**origins it may call**",
                cell(format!(
                    "none; {}, {}, {}",
                    number(OUTBOUND, "MAX_REQUESTS"),
                    kib(OUTBOUND, "MAX_REQUEST_BYTES"),
                    mib(OUTBOUND, "MAX_RESPONSE_BYTES")
                )),
            ),
            (
                "**what it may keep**",
                cell(format!(
                    "nothing; {}, {}",
                    number(ENTRIES, "MAX_KEYS"),
                    mib(ENTRIES, "MAX_BUCKET_BYTES")
                )),
            ),
            (
                "long refresh tokens",
                vec![format!(
                    "| {}, {} MiB |",
                    number(KEPT_TOKENS, "MAX_PER_PERSON"),
                    constant(KEPT_TOKENS, "MAX_KIB") >> 10
                )],
            ),
            (
                "different sets of groups",
                cell(kib(KEPT_GROUPS, "MAX_BYTES")),
            ),
            (
                "**names, scopes and principals**",
                vec![format!(
                    "{} bytes of",
                    number("auth/src/principal.rs", "MAX_PRINCIPAL_BYTES")
                )],
            ),
            ("files, sockets", vec![]),
        ],
    );
    assert_eq!(
        provider.deadline.subsec_millis(),
        0,
        "the row of the deadline is in whole seconds"
    );
}

#[test]
fn limits_on_sign_ins_are_those_of_the_code() {
    let page = project("docs/people.md");
    let (_, section) = page
        .split_once("\n### Limits on sign-ins\n")
        .expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |name: &str| vec![format!("| {} |", number(THROTTLE, name))];
    check(
        section,
        &[
            ("passwords from one address", row("ATTEMPTS_A_MINUTE")),
            (
                "passwords at one account from one network",
                row("ATTEMPTS_A_MINUTE"),
            ),
            (
                "passwords at one account from all networks",
                row("ACCOUNT_ATTEMPTS_A_MINUTE"),
            ),
            (
                "passwords from all clients",
                row("UNKNOWN_ATTEMPTS_A_MINUTE"),
            ),
            (
                "passwords at one account from one known device",
                row("ATTEMPTS_A_MINUTE"),
            ),
            (
                "ways to or from an identity provider",
                row("REDIRECTS_A_MINUTE"),
            ),
            ("logout tokens", row("LOGOUT_TOKENS_A_MINUTE")),
        ],
    );

    let a_day = |name: &str| thousands(constant(THROTTLE, name) * 60 * 24);
    let (of_one, of_all) = (
        a_day("ATTEMPTS_A_MINUTE"),
        a_day("ACCOUNT_ATTEMPTS_A_MINUTE"),
    );
    let sentence =
        format!("can guess {of_one} passwords per day at an account, all together {of_all}.");
    assert!(on_one_line(section).contains(&sentence), "{sentence}");
}

/// A text without its line breaks.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn limits_that_sentences_name_are_those_of_the_code() {
    let [ticket, records] = ["auth/src/ticket.rs", "gateway/src/records.rs"];
    let [slots, speak] = ["dashboard/src/web/apps/slots.rs", "net/src/listen/speak.rs"];
    let [branding, handover] = [
        "dashboard/src/web/branding.rs",
        "dashboard/src/web/sign_in/handover.rs",
    ];
    let bucket = format!(
        "{} bytes, values of {}",
        number(ENTRIES, "MAX_KEY_BYTES"),
        kib(ENTRIES, "MAX_VALUE_BYTES")
    );
    for (page, sentence) in [
        (
            "docs/limits.md",
            format!(
                "at most {} of its memory",
                kib("sandbox/src/engine/mod.rs", "KEEP_RESIDENT")
            ),
        ),
        (
            "docs/people.md",
            format!("good once, for {} seconds", seconds(ticket, "TICKET_LIFE")),
        ),
        (
            "docs/people.md",
            format!("At most {} tickets wait", number(handover, "MAX_WAITING")),
        ),
        (
            "docs/people.md",
            format!(
                "{} of them for one person",
                number(handover, "MAX_WAITING_PER_PERSON")
            ),
        ),
        (
            "docs/people.md",
            format!(
                "beyond {} sessions",
                number("auth/src/known_sessions.rs", "MAX_KNOWN")
            ),
        ),
        (
            "docs/page.md",
            format!("PNG or SVG, up to {};", kib(branding, "MAX_LOGO_BYTES")),
        ),
        (
            "docs/page.md",
            format!("has up to {} pixels", constant(branding, "MAX_LOGO_PIXELS")),
        ),
        (
            "docs/apps.md",
            format!(
                "{} requests and sockets of the",
                number(slots, "MAX_IN_FLIGHT")
            ),
        ),
        (
            "docs/apps.md",
            format!("or {} of one person", number(slots, "MAX_PER_CALLER")),
        ),
        (
            "docs/apps.md",
            format!(
                "A session has at most {} of them",
                number("auth/src/sessions.rs", "MAX_STREAMS")
            ),
        ),
        (
            "docs/tls.md",
            format!(
                "at most {} requests and web sockets",
                number(speak, "MAX_STREAMS")
            ),
        ),
        (
            "docs/tls.md",
            format!(
                "{} of fields per request",
                kib(speak, "MAX_HEADER_LIST_BYTES")
            ),
        ),
        (
            "docs/tls.md",
            format!("{} of bodies ahead", kib(speak, "CONNECTION_WINDOW_BYTES")),
        ),
        (
            "docs/tls.md",
            format!("Pings every {} seconds", seconds(speak, "PING_INTERVAL")),
        ),
        (
            "docs/tls.md",
            format!(
                "ends after {} seconds",
                seconds("net/src/listen.rs", "IDLE_TIMEOUT")
            ),
        ),
        (
            "docs/http.md",
            format!(
                "at most {} turns, {} per turn and {} in all",
                number(records, "MAX_ENDED"),
                mib(records, "MAX_TURN_BYTES"),
                mib(records, "MAX_BYTES")
            ),
        ),
        (
            "docs/http.md",
            format!(
                "at most {} lines per turn",
                number("gateway/src/turn_log.rs", "MAX_LINES")
            ),
        ),
        (
            "docs/http.md",
            format!(
                "429 over {} per minute and address",
                number(THROTTLE, "LOGOUT_TOKENS_A_MINUTE")
            ),
        ),
        (
            "docs/providers.md",
            format!(
                "{} keys, {}, keys of {bucket}",
                number(ENTRIES, "MAX_KEYS"),
                mib(ENTRIES, "MAX_BUCKET_BYTES")
            ),
        ),
        (
            "docs/providers.md",
            format!(
                "At most {} entries of each kind",
                number("sandbox/src/guard/verification_cache.rs", "MAX_ENTRIES")
            ),
        ),
        (
            "docs/providers/contract.md",
            format!("{} keys of {bucket}", number(ENTRIES, "MAX_KEYS")),
        ),
        (
            "docs/providers/contract.md",
            format!(
                "operator lists; {} per call",
                number(OUTBOUND, "MAX_REQUESTS")
            ),
        ),
        (
            "docs/providers/contract.md",
            format!(
                "more than {} scopes",
                number("auth/src/principal.rs", "MAX_SCOPES")
            ),
        ),
        (
            "docs/providers/contract.md",
            format!(
                "as they are, up to {}.",
                number("auth/src/groups.rs", "MAX_GROUPS")
            ),
        ),
    ] {
        assert!(
            on_one_line(&project(page)).contains(&sentence),
            "{page} does not say: {sentence}"
        );
    }
}
