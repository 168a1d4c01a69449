//! The trace that a request belongs to, as the headers `traceparent` and `tracestate` name it
//! ([W3C Trace Context](https://www.w3.org/TR/trace-context/)).
//!
//! **Invariant:** a context has a trace id and a parent id that are not zero. Its text is bounded,
//! and needs no escape in a header or in an environment variable.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeSet;

/// The header with the ids of the trace and of the caller's span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with what the tracing systems on the way added.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `traceparent` that is read, in bytes. Version 00 has 55; later versions may have more
/// fields.
const MAX_PARENT_BYTES: usize = 256;
/// Longest `tracestate` that is passed on, in bytes (section 3.3.1.5: at least 512).
const MAX_STATE_BYTES: usize = 512;
/// Members of a `tracestate` (section 3.3.1.1).
const MAX_STATE_MEMBERS: usize = 32;
/// Members over this length, in bytes, are the first to be left out of a long `tracestate` (section
/// 3.3.1.5).
const LARGE_MEMBER_BYTES: usize = 128;
/// The flags that have a meaning: sampled, and a random trace id (level 2, section 3.2.2.5.2).
const KNOWN_FLAGS: u8 = 0b11;

/// A position in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
    state: String,
}

impl TraceContext {
    /// Makes the context for a request that is sent. Flags without a meaning and a `state` that is
    /// not valid are left out. Returns `None` if one of the ids is zero.
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], flags: u8, state: &str) -> Option<Self> {
        let is_valid = trace_id != [0; 16] && parent_id != [0; 8];
        let state = valid_state([state.as_bytes()].into_iter()).unwrap_or_default();
        is_valid.then_some(Self {
            trace_id,
            parent_id,
            flags: flags & KNOWN_FLAGS,
            state,
        })
    }

    /// Reads the headers of a request. Returns `None` unless there is exactly one `traceparent`,
    /// and it is valid. A `tracestate` that is not valid is left out.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        let (trace_id, parent_id, flags) = parse(value.as_bytes())?;
        let states = headers
            .get_all(TRACESTATE)
            .iter()
            .map(HeaderValue::as_bytes);
        let state = valid_state(states).unwrap_or_default();
        Self::new(trace_id, parent_id, flags, &state)
    }

    /// Returns the id of the trace.
    pub(crate) fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Returns the id of the caller's span.
    pub(crate) fn parent_id(&self) -> [u8; 8] {
        self.parent_id
    }

    /// Returns the flags that have a meaning. Bit 0: the caller may have recorded its span.
    pub(crate) fn flags(&self) -> u8 {
        self.flags
    }

    /// Returns the value of `traceparent`, in version 00.
    pub fn parent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            hex::encode(self.trace_id),
            hex::encode(self.parent_id),
            self.flags
        )
    }

    /// Returns the value of `tracestate`; empty if there is none.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Replaces both headers.
    pub fn put_on(&self, headers: &mut HeaderMap) {
        put_on(headers, TRACEPARENT, &self.parent());
        put_on(headers, TRACESTATE, &self.state);
    }
}

fn put_on(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    }
}

/// Reads a `traceparent`: trace id, parent id and flags (section 3.2).
fn parse(text: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    if text.len() > MAX_PARENT_BYTES {
        return None;
    }

    let mut fields = text.split(|byte| *byte == b'-');
    let [version] = hex_of(fields.next()?)?;
    let trace_id = hex_of(fields.next()?)?;
    let parent_id = hex_of(fields.next()?)?;
    let [flags] = hex_of(fields.next()?)?;

    let is_known_form = match version {
        0 => fields.next().is_none(),
        0xff => false,
        // Later versions may add fields at the end.
        _ => true,
    };
    is_known_form.then_some((trace_id, parent_id, flags))
}

/// Reads lower-case hex digits of exactly this many bytes.
fn hex_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let is_lower_case = digits
        .iter()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    (is_lower_case && hex::decode_to_slice(digits, &mut bytes).is_ok()).then_some(bytes)
}

/// Joins the members of all lines, and shortens them to what is passed on. `None`: one of them is
/// not valid (section 3.3).
fn valid_state<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut members = Vec::new();
    let mut keys = BTreeSet::new();

    for member in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let member = std::str::from_utf8(member.trim_ascii()).ok()?;
        // An empty member is allowed and means nothing.
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if !is_key(key)
            || !is_value(value)
            || !keys.insert(key)
            || members.len() == MAX_STATE_MEMBERS
        {
            return None;
        }
        members.push(member);
    }

    Some(shortened(members).join(","))
}

fn shortened(mut members: Vec<&str>) -> Vec<&str> {
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    // The last member has no comma after it.
    let is_too_long = |members: &[&str]| length(members) > MAX_STATE_BYTES + 1;
    if is_too_long(&members) {
        members.retain(|member| member.len() <= LARGE_MEMBER_BYTES);
    }
    while is_too_long(&members) {
        members.pop();
    }
    members
}

/// Section 3.3.1.3.1; a key that begins with a digit is level 2's.
fn is_key(key: &str) -> bool {
    match key.split_once('@') {
        Some((tenant, system)) => is_part_of_key(tenant, 241) && is_part_of_key(system, 14),
        None => is_part_of_key(key, 256),
    }
}

fn is_part_of_key(text: &str, most: usize) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let may_begin = text.bytes().next().is_some_and(is_alphanumeric);
    may_begin
        && text.len() <= most
        && text
            .bytes()
            .all(|byte| is_alphanumeric(byte) || b"_-*/".contains(&byte))
}

/// Section 3.3.1.3.2. A space at the end was trimmed.
fn is_value(value: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b' '..=b'~') && !b",=".contains(&byte);
    (1..=256).contains(&value.len()) && value.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(parents: &[&str], states: &[&str]) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().unwrap());
        }
        for state in states {
            headers.append(TRACESTATE, state.parse().unwrap());
        }
        TraceContext::of(&headers)
    }

    fn state(lines: &[&str]) -> String {
        read(&[PARENT], lines).unwrap().state().to_owned()
    }

    #[test]
    fn context_is_written_as_it_was_read() {
        let context = read(&[PARENT], &["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"]).unwrap();
        assert_eq!((context.parent().as_str(), context.flags()), (PARENT, 1));
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, "another".parse().unwrap());
        headers.append(TRACEPARENT, "and another".parse().unwrap());
        context.put_on(&mut headers);
        assert_eq!(
            headers.get_all(TRACEPARENT).iter().collect::<Vec<_>>(),
            [PARENT]
        );
        assert_eq!(
            headers[TRACESTATE],
            "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
        );
        read(&[PARENT], &[]).unwrap().put_on(&mut headers);
        assert!(!headers.contains_key(TRACESTATE));
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let rest = &PARENT[2..];
        for parent in [
            format!("01{rest}"),
            format!("cc{rest}-more-fields"),
            format!("fe{rest}-"),
        ] {
            assert_eq!(
                read(&[&parent], &[])
                    .map(|context| context.parent())
                    .as_deref(),
                Some(PARENT),
                "{parent}"
            );
        }
        let unknown_flags = PARENT.replace("-01", "-fe");
        assert_eq!(read(&[&unknown_flags], &[]).unwrap().flags(), 2);
    }

    #[test]
    fn other_text_is_no_context() {
        let upper_case = PARENT.to_uppercase();
        let too_long = format!("01{}-{}", &PARENT[2..], "x".repeat(MAX_PARENT_BYTES));
        for parent in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &upper_case,
            &too_long,
        ] {
            assert_eq!(read(&[parent], &[]), None, "{parent}");
        }
        assert_eq!(read(&[], &[]), None);
        assert_eq!(read(&[PARENT, PARENT], &[]), None);
    }

    #[test]
    fn state_is_joined_and_trimmed() {
        assert_eq!(
            state(&["a=1 ,\tb@c= 2", "", " , 3d/x-y_z*=!~"]),
            "a=1,b@c= 2,3d/x-y_z*=!~"
        );
    }

    #[test]
    fn state_that_is_not_valid_is_left_out() {
        let many = (0..=MAX_STATE_MEMBERS)
            .map(|index| format!("k{index}=v"))
            .collect::<Vec<_>>()
            .join(",");
        let long_value = format!("a={}", "x".repeat(257));
        for line in [
            "a",
            "=1",
            "A=1",
            "a=",
            "a=1,a=2",
            "a=b=c",
            "@a=1",
            "a@=1",
            "a b=1",
            "_a=1",
            &many,
            &long_value,
        ] {
            assert_eq!(state(&[line]), "", "{line}");
        }
    }

    #[test]
    fn long_state_is_shortened_by_whole_members() {
        let large = format!("large={}", "x".repeat(200));
        let small = (0..31)
            .map(|index| format!("key{index:02}={}", "y".repeat(20)))
            .collect::<Vec<_>>();
        let kept = state(&[&format!("{large},{}", small.join(","))]);
        assert!(
            kept.len() <= MAX_STATE_BYTES && kept.starts_with("key00="),
            "{kept}"
        );
        assert!(
            kept.split(',')
                .all(|member| small.iter().any(|known| known == member)),
            "{kept}"
        );
        // 26 bytes and a comma each.
        assert_eq!(kept.split(',').count(), 19);
    }
}
