//! The issuer's refresh tokens. A short one is part of our own refresh token. A long one would make
//! a cookie too large for the buffers of common proxies, so the bucket keeps it, and our token has
//! its handle.
//!
//! All people share the bucket, in which the ends of sessions stand as well. The tokens therefore
//! have a share of it, and so has each person: what does not fit pushes out an older token, of which
//! the session then ends with its access token. What is kept is counted by listing the keys, which
//! say whose a token is, how old and how large: a count of its own could differ from it.
//!
//! **Invariant:** the tokens of a person are at most [`MAX_PER_PERSON`], and all together have at
//! most [`MAX_KIB`], beside what calls at the same moment add. A session has at most one entry. It
//! is removed when the session ends, and the host drops it a week after it was last written: as long
//! as a session can be refreshed.

use crate::logout::{digest, targets_of};
use portcullis_guest::{Bucket, MAX_VALUE_BYTES, Unavailable, base64url};
use session_tokens::Person;
use std::collections::BTreeMap;

/// What a handle begins with. A token that begins like that is always kept in the bucket.
const PREFIX: &str = "kept:";
/// What the keys of the tokens begin with. They come first in the order of the keys, so that a
/// listing needs to read no others.
const SHELF: &str = "0:";
/// Longest token of the issuer that the provider's own token holds, together with the texts of the
/// person, in bytes.
const MAX_INSIDE: usize = 400;
/// The same while the bucket has no room, in bytes: a cookie with such a token still fits.
const MAX_INSIDE_WITHOUT_ROOM: usize = 1_500;
/// Tokens that are kept for one person: those of the sessions that were opened last.
const MAX_PER_PERSON: usize = 20;
/// Room of all tokens, in KiB, of the 4 MiB of a bucket. Groups have a little more (`kept_groups.rs`
/// of the session tokens), the ID tokens a quarter of the bucket (`id_tokens.rs`), and the marks of
/// some 20,000 sessions that ended in a week have the rest.
const MAX_KIB: u64 = 1024;
/// What an entry takes beside its token, in bytes: the key, and some room for the next token, which
/// may be a little longer.
const OVERHEAD: usize = 256;

pub(crate) struct KeptTokens<'a> {
    pub(crate) bucket: &'a dyn Bucket,
    /// Seconds since the Unix epoch.
    pub(crate) now: u64,
}

/// Whose a token is.
pub(crate) struct Owner<'a> {
    pub(crate) person: &'a Person,
    /// The note of the session (`logout.rs`).
    pub(crate) note: &'a str,
}

/// An entry of the bucket, as its key says.
struct Place {
    key: String,
    /// A digest of the user id.
    person: String,
    /// Seconds since the Unix epoch.
    opened_at: u64,
    kib: u64,
    /// What ends the session: the names of a note, between dots.
    targets: String,
}

impl Place {
    /// `None`: the key is that of no such entry.
    fn read(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(SHELF)?.splitn(5, '.');
        let person = parts.next()?.to_owned();
        let opened_at = parts.next()?.parse().ok()?;
        let kib = parts.next()?.parse().ok()?;
        let _random = parts.next()?;
        Some(Self {
            key: key.to_owned(),
            person,
            opened_at,
            kib,
            targets: parts.next()?.to_owned(),
        })
    }

    fn is_ended_by(&self, target: &str) -> bool {
        self.targets.split('.').any(|name| name == target)
    }
}

impl KeptTokens<'_> {
    /// What to put into our refresh token for one of the issuer's: the token or a handle; empty if
    /// there is none, or if it fits nowhere. `before` is what the session had.
    pub(crate) fn keep(&self, token: String, before: &str, owner: &Owner<'_>) -> String {
        let has_handle = before.starts_with(PREFIX);
        let fits = token.len() + owner.person.length() <= MAX_INSIDE && !token.starts_with(PREFIX);
        if token.is_empty() || fits && !has_handle {
            return token;
        }

        if has_handle {
            // Under the same handle: if the rest of the refresh fails, the session has the old one.
            if has_room(before, &token) && self.write(before, &token) {
                return before.to_owned();
            }
            self.forget(before);
        }

        match self.keep_first(&token, owner) {
            Some(handle) => handle,
            None if token.len() <= MAX_INSIDE_WITHOUT_ROOM && !token.starts_with(PREFIX) => token,
            None => String::new(),
        }
    }

    /// Returns the handle. `None`: the token is too long, or the bucket does not take it.
    fn keep_first(&self, token: &str, owner: &Owner<'_>) -> Option<String> {
        if token.len() > MAX_VALUE_BYTES {
            return None;
        }

        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        let person = digest(&owner.person.user_id);
        let kib = kib_of(token);
        self.make_room(&person, kib).ok()?;

        let handle = format!(
            "{PREFIX}{person}.{}.{kib}.{}.{}",
            self.now,
            base64url(&bytes),
            targets_of(owner.note)
        );
        self.write(&handle, token).then_some(handle)
    }

    /// Removes the oldest tokens of this person while the person has as many as one may have, and
    /// then, while all take too much room, the oldest of who has the most.
    fn make_room(&self, person: &str, kib: u64) -> Result<(), Unavailable> {
        let mut places = self.places()?;
        places.sort_by_key(|place| place.opened_at);

        let own = places.iter().filter(|place| place.person == person).count();
        for _ in MAX_PER_PERSON..=own {
            if let Some(oldest) = places.iter().position(|place| place.person == person) {
                self.bucket.delete(&places.remove(oldest).key)?;
            }
        }

        let mut held = BTreeMap::<String, u64>::new();
        for place in &places {
            *held.entry(place.person.clone()).or_default() += place.kib;
        }
        while held.values().sum::<u64>() + kib > MAX_KIB {
            let most = held.values().max().copied();
            let oldest = places
                .iter()
                .position(|place| held.get(&place.person).copied() == most);
            let Some(oldest) = oldest else {
                break;
            };
            let dropped = places.remove(oldest);
            self.bucket.delete(&dropped.key)?;
            if let Some(held) = held.get_mut(&dropped.person) {
                *held -= dropped.kib;
            }
        }

        Ok(())
    }

    /// All entries. The tokens take at least a KiB each, so they are on some twenty pages at most.
    fn places(&self) -> Result<Vec<Place>, Unavailable> {
        let mut places = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.bucket.list_keys(cursor)?;
            let is_last = page.keys.last().is_none_or(|key| !key.starts_with(SHELF));
            places.extend(page.keys.iter().filter_map(|key| Place::read(key)));
            match page.next {
                Some(next) if !is_last => cursor = Some(next),
                _ => return Ok(places),
            }
        }
    }

    fn write(&self, handle: &str, token: &str) -> bool {
        self.bucket.set(&key_of(handle), token.as_bytes()).is_ok()
    }

    /// The issuer's token that was kept. `None`: it is gone.
    ///
    /// # Errors
    /// The bucket is out of reach.
    pub(crate) fn read(&self, kept: &str) -> Result<Option<String>, Unavailable> {
        if !kept.starts_with(PREFIX) {
            return Ok(Some(kept.to_owned()).filter(|token| !token.is_empty()));
        }
        let entry = self.bucket.get(&key_of(kept))?;
        Ok(entry
            .and_then(|entry| String::from_utf8(entry).ok())
            .filter(|token| !token.is_empty()))
    }

    /// Forgets the token of a session that is over. If that fails, the host drops it after a week.
    pub(crate) fn forget(&self, kept: &str) {
        if kept.starts_with(PREFIX) {
            let _ = self.bucket.delete(&key_of(kept));
        }
    }

    /// Forgets the tokens of sessions that one of these names ends (`logout.rs`).
    pub(crate) fn forget_ended(&self, targets: &[String]) {
        self.forget_places(|place| targets.iter().any(|target| place.is_ended_by(target)));
    }

    /// Forgets the tokens of every session of a person.
    pub(crate) fn forget_person(&self, user_id: &str) {
        let person = digest(user_id);
        self.forget_places(|place| place.person == person);
    }

    fn forget_places(&self, is_over: impl Fn(&Place) -> bool) {
        let places = self.places().unwrap_or_default();
        for place in places.iter().filter(|place| is_over(place)) {
            let _ = self.bucket.delete(&place.key);
        }
    }
}

/// What a token counts for, in KiB.
fn kib_of(token: &str) -> u64 {
    (token.len() + OVERHEAD).div_ceil(1024) as u64
}

/// Whether a token takes no more than was counted for the one that has this handle.
fn has_room(handle: &str, token: &str) -> bool {
    Place::read(&key_of(handle)).is_some_and(|place| kib_of(token) <= place.kib)
}

fn key_of(handle: &str) -> String {
    let place = handle.strip_prefix(PREFIX).unwrap_or(handle);
    format!("{SHELF}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::{KeyPage, MockBucket};

    /// A bucket without room.
    struct Full;

    impl Bucket for Full {
        fn get(&self, _: &str) -> Result<Option<Vec<u8>>, Unavailable> {
            Ok(None)
        }

        fn set(&self, _: &str, _: &[u8]) -> Result<(), Unavailable> {
            Err(Unavailable("full".to_owned()))
        }

        fn increment(&self, _: &str, _: u64) -> Result<u64, Unavailable> {
            Err(Unavailable("full".to_owned()))
        }

        fn delete(&self, _: &str) -> Result<(), Unavailable> {
            Ok(())
        }

        fn list_keys(&self, _: Option<u64>) -> Result<KeyPage, Unavailable> {
            Ok(KeyPage::default())
        }
    }

    fn tokens(bucket: &dyn Bucket, now: u64) -> KeptTokens<'_> {
        KeptTokens { bucket, now }
    }

    fn named(user_id: &str) -> Person {
        Person {
            user_id: user_id.to_owned(),
            ..Person::default()
        }
    }

    fn owner(person: &Person) -> Owner<'_> {
        Owner {
            person,
            note: "mark.sone.uada.@5",
        }
    }

    /// Tokens in the bucket, and their bytes with the keys.
    fn usage(bucket: &MockBucket) -> (usize, usize) {
        let places = tokens(bucket, 0).places().unwrap();
        let bytes = places
            .iter()
            .map(|place| place.key.len() + bucket.get(&place.key).unwrap().unwrap().len())
            .sum();
        (places.len(), bytes)
    }

    #[test]
    fn tokens_of_every_size_come_back_and_long_ones_leave_a_short_handle() {
        let bucket = MockBucket::default();
        let tokens = tokens(&bucket, 1_700_000_000);
        let person = named(&"a".repeat(100));
        let owner = owner(&person);
        for token in [
            "short",
            &*"x".repeat(400),
            &*"x".repeat(5_000),
            "kept:by-an-issuer",
            "é",
        ] {
            let kept = tokens.keep(token.to_owned(), "", &owner);
            assert!(kept.len() <= 300, "{}", kept.len());
            assert_eq!(tokens.read(&kept), Ok(Some(token.to_owned())));
        }
        assert_eq!(tokens.keep("short".to_owned(), "", &owner), "short");
        assert_eq!(tokens.keep(String::new(), "", &owner), "");
        assert_eq!(
            tokens.read("old cookie's token"),
            Ok(Some("old cookie's token".to_owned()))
        );
    }

    #[test]
    fn session_has_one_entry_until_it_ends() {
        let bucket = MockBucket::default();
        let tokens = tokens(&bucket, 0);
        let ada = named("ada");
        let owner = owner(&ada);
        let first = tokens.keep("x".repeat(2_000), "", &owner);
        let second = tokens.keep("y".repeat(2_000), &first, &owner);
        assert_eq!(second, first);
        assert_eq!(tokens.keep("short".to_owned(), &first, &owner), first);
        assert_eq!(tokens.read(&first), Ok(Some("short".to_owned())));

        let longer = tokens.keep("z".repeat(9_000), &first, &owner);
        assert_ne!(longer, first, "it counts for more");
        assert_eq!(tokens.read(&first), Ok(None));
        assert_eq!(tokens.read(&longer), Ok(Some("z".repeat(9_000))));

        tokens.forget(&longer);
        assert_eq!(tokens.read(&longer), Ok(None));
        assert_eq!(usage(&bucket), (0, 0));
        assert_eq!(tokens.read("kept:made-up"), Ok(None));
    }

    #[test]
    fn full_bucket_costs_no_sign_in_and_no_refresh() {
        let tokens = tokens(&Full, 0);
        let ada = named("ada");
        let owner = owner(&ada);
        let kept = tokens.keep("x".repeat(1_500), "", &owner);
        assert_eq!(kept, "x".repeat(1_500));
        for before in ["", "kept:before"] {
            assert_eq!(
                tokens.keep("x".repeat(2_000), before, &owner),
                "",
                "the session ends with its access token"
            );
        }
        let endless = "x".repeat(MAX_VALUE_BYTES + 1);
        assert_eq!(tokens.keep(endless, "", &owner), "");
    }

    #[test]
    fn person_has_a_few_tokens_and_takes_no_room_of_others() {
        let bucket = MockBucket::default();
        let (ada, busy) = (named("ada"), named("busy"));
        let first = tokens(&bucket, 0).keep("x".repeat(1_900), "", &owner(&ada));
        let handles: Vec<_> = (1..=2_400)
            .map(|now| tokens(&bucket, now).keep("y".repeat(1_900), "", &owner(&busy)))
            .collect();
        assert_eq!(usage(&bucket).0, 1 + MAX_PER_PERSON);

        let tokens = tokens(&bucket, 3_000);
        assert!(tokens.read(&first).unwrap().is_some(), "of another person");
        let is_kept = |handle: &String| tokens.read(handle).unwrap().is_some();
        let (dropped, kept) = handles.split_at(handles.len() - MAX_PER_PERSON);
        assert!(kept.iter().all(is_kept) && !dropped.iter().any(is_kept));
    }

    #[test]
    fn tokens_of_many_people_leave_room_in_the_bucket() {
        let bucket = MockBucket::default();
        // What else is there comes later in the order of the keys.
        for number in 0..250 {
            bucket.set(&format!("s:{number}"), b"over").unwrap();
        }
        let keep = |name: String, now: u64, size: usize| {
            tokens(&bucket, now).keep("x".repeat(size), "", &owner(&named(&name)))
        };
        for now in 0..1_200 {
            keep(format!("person-{}", now / 7), now, 1_900);
        }
        let (count, bytes) = usage(&bucket);
        assert!(bytes as u64 <= MAX_KIB * 1024, "{bytes}");
        assert!(count > 300, "{count}");

        let of_one = keep("one".to_owned(), 3_000, 500);
        for now in 3_001..3_020 {
            keep("many".to_owned(), now, 19_000);
        }
        assert!(usage(&bucket).1 as u64 <= MAX_KIB * 1024);
        assert!(
            tokens(&bucket, 4_000).read(&of_one).unwrap().is_some(),
            "those who have the most make room"
        );
    }

    #[test]
    fn sessions_that_were_ended_together_leave_nothing() {
        let bucket = MockBucket::default();
        let tokens = tokens(&bucket, 7);
        let ada = named("ada");
        let keep = |note: &str| {
            let owner = Owner { person: &ada, note };
            tokens.keep("x".repeat(500), "", &owner)
        };
        let [one, two, nameless] = ["mark.sone.uada.@5", "mark.stwo.uada.@5", "mark"].map(keep);
        tokens.forget_ended(&["sone".to_owned(), "wada".to_owned()]);
        let is_kept = |handle: &str| tokens.read(handle).unwrap().is_some();
        assert!(!is_kept(&one) && is_kept(&two) && is_kept(&nameless));
        tokens.forget_ended(&["uada".to_owned()]);
        assert!(!is_kept(&two) && is_kept(&nameless));
        tokens.forget_person("bob");
        assert!(is_kept(&nameless));
        tokens.forget_person("ada");
        assert!(!is_kept(&nameless));
    }
}
