//! Session tokens that a provider signs for itself: a short access token and a refresh token, each
//! a JSON Web Token (RFC 7519) signed with HMAC-SHA-256 by a key that only the provider has.
//!
//! A refresh token is good once: exchanging it twice is taken for theft, and ends the session (RFC
//! 9700, section 4.14.2). What is over, and which exchange is next, stands in the provider's
//! bucket: one small entry per session that was refreshed or ended. Several sessions do not share
//! an entry: the bucket has no compare-and-swap, so that of two sign-outs at the same time one
//! would be lost.

mod kept_groups;
mod kept_key;

use kept_groups::KeptGroups;
pub use kept_key::{keep_key, kept_key};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use portcullis_guest::{Bucket, RefreshError, Session, Unavailable, base64url};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The longest that a refresh token may live: as long as the bucket remembers.
pub const MAX_REFRESH_SECONDS: u64 = 7 * 24 * 3600;

/// The person that the session belongs to. A text is empty where it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// A stable identifier of the person.
    #[serde(rename = "sub")]
    pub user_id: String,
    /// The e-mail address; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The name to show; empty if unknown.
    #[serde(default, rename = "name", skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// The organisation's identifier; empty if unknown.
    #[serde(default, rename = "org", skip_serializing_if = "String::is_empty")]
    pub org_id: String,
    /// Names of the groups that the person is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Person {
    /// How long the texts are, without the groups, in bytes.
    pub fn length(&self) -> usize {
        let texts = [&self.user_id, &self.email, &self.display_name, &self.org_id];
        texts.into_iter().map(String::len).sum()
    }
}

/// What a provider puts into its tokens beside the person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Text for both tokens, such as a mark of the password that was checked.
    pub both: String,
    /// Text for the refresh token, such as the refresh token of an identity provider.
    pub refresh: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Use {
    #[serde(rename = "access")]
    Access,
    #[serde(rename = "refresh")]
    Refresh,
}

#[derive(Serialize, Deserialize)]
struct TokenClaims {
    #[serde(rename = "use")]
    used_for: Use,
    #[serde(flatten)]
    person: Person,
    /// The session, from sign-in to sign-out.
    sid: String,
    /// How often it has been refreshed.
    generation: u64,
    exp: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    refresh_note: String,
    /// The entry of the bucket that has the groups; empty if they are part of the token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    groups_kept_as: String,
    /// An earlier version kept the groups under another name.
    #[serde(default, skip_serializing)]
    groups_are_kept: bool,
}

/// A token that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The person that it was issued to.
    pub person: Person,
    /// The notes that its provider put in.
    pub notes: Notes,
    /// Seconds since the Unix epoch.
    pub expires_at: u64,
    sid: String,
    generation: u64,
}

/// Signs tokens, and verifies those that it signed.
pub struct Signer<'a> {
    /// At least 256 bits.
    pub key: &'a [u8],
    /// The bucket in which it keeps which sessions have ended.
    pub bucket: &'a dyn Bucket,
    /// Seconds since the Unix epoch.
    pub now: u64,
}

/// When a session's tokens end, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// When the access token ends.
    pub access: u64,
    /// When the refresh token ends. `None` if there is none.
    pub refresh: Option<u64>,
}

impl Signer<'_> {
    /// A new session.
    ///
    /// # Errors
    /// No random numbers, or no signature: both are out of reach.
    pub fn open(&self, person: Person, notes: Notes, ends: Ends) -> Result<Session, Unavailable> {
        let mut sid = [0; 16];
        getrandom::fill(&mut sid)
            .map_err(|error| Unavailable(format!("random numbers: {error}")))?;

        self.session(
            Checked {
                person,
                notes,
                expires_at: ends.access,
                sid: base64url(&sid),
                generation: 0,
            },
            ends,
        )
    }

    /// Returns what an access token says. `None` if the token is not one of this signer, or is
    /// over.
    ///
    /// # Errors
    /// The bucket is out of reach.
    pub fn verify(&self, access_token: &str) -> Result<Option<Checked>, Unavailable> {
        self.check(access_token, Use::Access)
    }

    /// Returns the note of an access token, also of one that has ended: a person may sign out later
    /// than that. `None` if the token is not one of this signer.
    pub fn note_of(&self, access_token: &str) -> Option<String> {
        self.read(access_token)
            .filter(|claims| claims.used_for == Use::Access)
            .map(|claims| claims.note)
    }

    /// Checks a refresh token without spending it, so that the token stays good if an exchange that
    /// the provider makes elsewhere fails.
    ///
    /// # Errors
    /// The session is over, or the bucket is out of reach.
    pub fn look_at(&self, refresh_token: &str) -> Result<Checked, RefreshError> {
        let checked = self
            .check(refresh_token, Use::Refresh)?
            .ok_or(RefreshError::Expired)?;
        let generation = match self.remembered(&checked.sid)? {
            Remembered::Generation(generation) => generation,
            Remembered::Over => return Err(RefreshError::Expired),
        };
        if generation != checked.generation {
            self.end(&checked)?;
            return Err(RefreshError::Expired);
        }
        Ok(checked)
    }

    /// Takes the room that spending the token needs in the bucket: before the provider makes an
    /// exchange elsewhere that cannot be undone.
    ///
    /// # Errors
    /// The session is over, or the bucket is full or out of reach.
    pub fn reserve(&self, checked: &Checked) -> Result<(), RefreshError> {
        let entry = self.bucket.get(&key_of(&checked.sid))?;
        match entry {
            None => self.count(checked, 0).map(drop),
            Some(entry) if entry == OVER => Err(RefreshError::Expired),
            Some(_) => Ok(()),
        }
    }

    /// Spends a refresh token that was checked. It is not accepted again.
    ///
    /// # Errors
    /// The token has been spent meanwhile, or the bucket is out of reach.
    pub fn spend(&self, checked: Checked) -> Result<Checked, RefreshError> {
        let generation = self.count(&checked, 1)?;
        if generation != checked.generation + 1 {
            self.end(&checked)?;
            return Err(RefreshError::Expired);
        }
        Ok(Checked {
            generation,
            ..checked
        })
    }

    /// The same session with new tokens.
    ///
    /// # Errors
    /// No signature.
    pub fn renew(&self, spent: Checked, ends: Ends) -> Result<Session, Unavailable> {
        self.session(spent, ends)
    }

    /// Ends the session of a refresh token. Returns what the token said. `None` if it is not one of
    /// this signer.
    ///
    /// # Errors
    /// The bucket is out of reach.
    pub fn revoke(&self, refresh_token: &str) -> Result<Option<Checked>, Unavailable> {
        let checked = self.check(refresh_token, Use::Refresh)?;
        checked.iter().try_for_each(|checked| self.end(checked))?;
        Ok(checked)
    }

    /// Returns the notes of a refresh token of which the session is over, so that the provider can
    /// forget what it kept for it. `None` if the token is not one of this signer, or the session is
    /// not known to be over: an old token of a session that was refreshed since is not enough.
    ///
    /// # Errors
    /// The bucket is out of reach.
    pub fn notes_of_ended(&self, refresh_token: &str) -> Result<Option<Notes>, Unavailable> {
        let Some(claims) = self.read(refresh_token) else {
            return Ok(None);
        };
        let is_over =
            claims.used_for == Use::Refresh && self.remembered(&claims.sid)? == Remembered::Over;
        Ok(is_over.then_some(Notes {
            both: claims.note,
            refresh: claims.refresh_note,
        }))
    }

    /// Adds to the number of refreshes and returns the sum.
    fn count(&self, checked: &Checked, by: u64) -> Result<u64, RefreshError> {
        let is_over = || Ok::<_, Unavailable>(self.remembered(&checked.sid)? == Remembered::Over);
        if is_over()? {
            return Err(RefreshError::Expired);
        }

        let counted = self.bucket.increment(&key_of(&checked.sid), by);
        match counted {
            Ok(generation) => Ok(generation),
            // A sign-out at the same moment has put its mark in the place of the number.
            Err(_) if is_over()? => Err(RefreshError::Expired),
            Err(unavailable) => Err(unavailable.into()),
        }
    }

    fn end(&self, checked: &Checked) -> Result<(), Unavailable> {
        self.bucket.set(&key_of(&checked.sid), OVER)
    }

    /// Reads the entry of a session, which is written when the session is first refreshed or ended.
    fn remembered(&self, sid: &str) -> Result<Remembered, Unavailable> {
        let Some(entry) = self.bucket.get(&key_of(sid))? else {
            return Ok(Remembered::Generation(0));
        };
        let number = std::str::from_utf8(&entry)
            .ok()
            .and_then(|text| text.parse().ok());
        Ok(number.map_or(Remembered::Over, Remembered::Generation))
    }

    /// What a token of this signer says, whether it has ended or not.
    fn read(&self, token: &str) -> Option<TokenClaims> {
        // Times are checked by the provider's own clock.
        let mut rules = Validation::new(Algorithm::HS256);
        rules.validate_exp = false;
        rules.required_spec_claims = HashSet::new();
        let decoded = decode::<TokenClaims>(token, &DecodingKey::from_secret(self.key), &rules);
        decoded.ok().map(|token| token.claims)
    }

    fn check(&self, token: &str, used_for: Use) -> Result<Option<Checked>, Unavailable> {
        let Some(claims) = self.read(token) else {
            return Ok(None);
        };
        if claims.used_for != used_for || claims.exp <= self.now {
            return Ok(None);
        }

        if self.remembered(&claims.sid)? == Remembered::Over {
            return Ok(None);
        }

        let TokenClaims {
            mut person,
            sid,
            generation,
            exp,
            note,
            refresh_note,
            groups_kept_as,
            groups_are_kept,
            ..
        } = claims;

        // Without its groups a session might get a role that its person does not have.
        if groups_are_kept {
            return Ok(None);
        }
        if !groups_kept_as.is_empty() {
            let Some(groups) = self.kept_groups().read(&groups_kept_as)? else {
                return Ok(None);
            };
            person.groups = groups;
        }

        let notes = Notes {
            both: note,
            refresh: refresh_note,
        };
        Ok(Some(Checked {
            person,
            notes,
            expires_at: exp,
            sid,
            generation,
        }))
    }

    fn kept_groups(&self) -> KeptGroups<'_> {
        KeptGroups {
            bucket: self.bucket,
        }
    }

    fn session(&self, of: Checked, ends: Ends) -> Result<Session, Unavailable> {
        let groups_kept_as = self.kept_groups().keep(&of.person.groups)?;
        let access_token = self.sign(&of, &groups_kept_as, Use::Access, ends.access)?;
        let refresh_token = match ends.refresh {
            Some(exp) => self.sign(&of, &groups_kept_as, Use::Refresh, exp)?,
            None => String::new(),
        };
        Ok(Checked {
            expires_at: ends.access,
            ..of
        }
        .into_session(access_token, refresh_token))
    }

    fn sign(
        &self,
        of: &Checked,
        groups_kept_as: &str,
        used_for: Use,
        exp: u64,
    ) -> Result<String, Unavailable> {
        let mut person = of.person.clone();
        if !groups_kept_as.is_empty() {
            person.groups.clear();
        }

        let refresh_note = if used_for == Use::Refresh {
            of.notes.refresh.clone()
        } else {
            String::new()
        };
        let claims = TokenClaims {
            used_for,
            person,
            sid: of.sid.clone(),
            generation: of.generation,
            exp,
            note: of.notes.both.clone(),
            refresh_note,
            groups_kept_as: groups_kept_as.to_owned(),
            groups_are_kept: false,
        };

        encode(
            &Header::new(Algorithm::HS256),
            &claims,
            &EncodingKey::from_secret(self.key),
        )
        .map_err(|error| Unavailable(format!("signing: {error}")))
    }
}

/// What the bucket knows of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remembered {
    /// How often it has been refreshed.
    Generation(u64),
    /// The session is over.
    Over,
}

/// In the place of the number.
const OVER: &[u8] = b"over";

/// Short, since a bucket of 4 MiB has to hold the sessions of a week.
fn key_of(sid: &str) -> String {
    match sid.len() {
        // Sessions that were opened by a version with 32 hex digits are remembered under this key.
        32 => format!("session:{sid}"),
        _ => format!("s:{sid}"),
    }
}

impl Checked {
    /// The session as the host wants it.
    pub fn into_session(self, access_token: String, refresh_token: String) -> Session {
        let Person {
            user_id,
            email,
            display_name,
            org_id,
            groups,
        } = self.person;

        let expires_at = self.expires_at;
        Session {
            user_id,
            email,
            display_name,
            org_id,
            expires_at,
            access_token,
            refresh_token,
            groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::{KeyPage, MockBucket};
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    const KEY: &[u8] = b"a key of thirty-two bytes, no less";
    const ENDS: Ends = Ends {
        access: 100,
        refresh: Some(1000),
    };

    fn signer(bucket: &MockBucket, now: u64) -> Signer<'_> {
        Signer {
            key: KEY,
            bucket,
            now,
        }
    }

    fn ada() -> Person {
        Person {
            user_id: "ada".into(),
            ..Person::default()
        }
    }

    #[test]
    fn tokens_are_known_until_they_end_and_only_for_their_use() {
        let bucket = MockBucket::default();
        let session = signer(&bucket, 0)
            .open(ada(), Notes::default(), ENDS)
            .unwrap();
        assert_eq!((session.user_id.as_str(), session.expires_at), ("ada", 100));
        assert_eq!(
            signer(&bucket, 99)
                .verify(&session.access_token)
                .unwrap()
                .unwrap()
                .person,
            ada()
        );
        assert_eq!(
            signer(&bucket, 100).verify(&session.access_token).unwrap(),
            None
        );
        assert_eq!(
            signer(&bucket, 0).verify(&session.refresh_token).unwrap(),
            None
        );
        assert_eq!(
            signer(&bucket, 0).look_at(&session.access_token),
            Err(RefreshError::Expired)
        );
        let other = Signer {
            key: b"another key of thirty-two bytes!!",
            bucket: &bucket,
            now: 0,
        };
        assert_eq!(other.verify(&session.access_token).unwrap(), None);
    }

    #[test]
    fn note_of_an_access_token_is_known_after_its_end() {
        let bucket = MockBucket::default();
        let notes = Notes {
            both: "a note".into(),
            refresh: String::new(),
        };
        let session = signer(&bucket, 0).open(ada(), notes, ENDS).unwrap();
        assert_eq!(
            signer(&bucket, 100)
                .note_of(&session.access_token)
                .as_deref(),
            Some("a note")
        );
        assert_eq!(signer(&bucket, 0).note_of(&session.refresh_token), None);
        let other = Signer {
            key: b"another key of thirty-two bytes!!",
            bucket: &bucket,
            now: 0,
        };
        assert_eq!(other.note_of(&session.access_token), None);
    }

    #[test]
    fn refresh_token_is_good_once_and_its_second_use_ends_the_session() {
        let bucket = MockBucket::default();
        let signer = signer(&bucket, 0);
        let first = signer.open(ada(), Notes::default(), ENDS).unwrap();
        let [looked, again] = [(); 2].map(|()| signer.look_at(&first.refresh_token).unwrap());
        let second = signer.renew(signer.spend(looked).unwrap(), ENDS).unwrap();
        assert!(signer.verify(&second.access_token).unwrap().is_some());
        assert_eq!(signer.spend(again), Err(RefreshError::Expired));
        assert_eq!(
            signer.look_at(&first.refresh_token),
            Err(RefreshError::Expired)
        );
        assert_eq!(
            signer.look_at(&second.refresh_token),
            Err(RefreshError::Expired)
        );
        assert_eq!(signer.verify(&second.access_token).unwrap(), None);
    }

    #[test]
    fn sign_out_during_a_refresh_refuses_it_and_is_no_outage() {
        let bucket = MockBucket::default();
        let signer = signer(&bucket, 0);
        let first = signer.open(ada(), Notes::default(), ENDS).unwrap();
        let looked = signer.look_at(&first.refresh_token).unwrap();
        signer.revoke(&first.refresh_token).unwrap();
        assert_eq!(signer.reserve(&looked), Err(RefreshError::Expired));
        assert_eq!(signer.spend(looked), Err(RefreshError::Expired));
        assert_eq!(signer.verify(&first.access_token).unwrap(), None);
    }

    #[test]
    fn room_that_was_reserved_is_that_of_the_number() {
        let bucket = Measured::default();
        let signer = Signer {
            key: KEY,
            bucket: &bucket,
            now: 0,
        };
        let session = signer.open(ada(), Notes::default(), ENDS).unwrap();
        let looked = signer.look_at(&session.refresh_token).unwrap();
        signer.reserve(&looked).unwrap();
        let reserved = bucket.sizes.borrow().clone();
        signer.reserve(&looked).unwrap();
        let session = signer.renew(signer.spend(looked).unwrap(), ENDS).unwrap();
        assert_eq!(*bucket.sizes.borrow(), reserved);
        assert!(signer.look_at(&session.refresh_token).is_ok());
    }

    #[test]
    fn notes_of_a_session_are_given_out_for_its_end_alone() {
        let bucket = MockBucket::default();
        let signer = signer(&bucket, 0);
        let notes = Notes {
            both: "mark".into(),
            refresh: "theirs".into(),
        };
        let session = signer.open(ada(), notes.clone(), ENDS).unwrap();
        assert_eq!(signer.notes_of_ended(&session.refresh_token), Ok(None));
        signer.revoke(&session.refresh_token).unwrap();
        assert_eq!(
            signer.notes_of_ended(&session.refresh_token),
            Ok(Some(notes))
        );
        assert_eq!(signer.notes_of_ended(&session.access_token), Ok(None));
        assert_eq!(signer.notes_of_ended("made-up"), Ok(None));
    }

    /// Counts what its entries take.
    #[derive(Default)]
    struct Measured {
        inner: MockBucket,
        sizes: RefCell<BTreeMap<String, usize>>,
    }

    impl Bucket for Measured {
        fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
            self.inner.get(key)
        }

        fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
            self.sizes
                .borrow_mut()
                .insert(key.to_owned(), key.len() + value.len());
            self.inner.set(key, value)
        }

        fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable> {
            let number = self.inner.increment(key, by)?;
            self.sizes
                .borrow_mut()
                .insert(key.to_owned(), key.len() + number.to_string().len());
            Ok(number)
        }

        fn delete(&self, key: &str) -> Result<(), Unavailable> {
            self.sizes.borrow_mut().remove(key);
            self.inner.delete(key)
        }

        fn list_keys(&self, cursor: Option<u64>) -> Result<KeyPage, Unavailable> {
            self.inner.list_keys(cursor)
        }
    }

    #[test]
    fn bucket_has_room_for_a_hundred_thousand_sign_outs_in_a_week() {
        let bucket = Measured::default();
        let signer = Signer {
            key: KEY,
            bucket: &bucket,
            now: 0,
        };
        for _ in 0..100 {
            let session = signer.open(ada(), Notes::default(), ENDS).unwrap();
            let spent = signer
                .spend(signer.look_at(&session.refresh_token).unwrap())
                .unwrap();
            let session = signer.renew(spent, ENDS).unwrap();
            signer.revoke(&session.refresh_token).unwrap();
            assert_eq!(signer.verify(&session.access_token).unwrap(), None);
        }
        let sizes = bucket.sizes.borrow();
        assert_eq!(sizes.len(), 100, "one entry per session");
        // `MAX_BUCKET_BYTES` and `MAX_KEYS` of the host are 4 MiB and 131,072.
        assert!(
            sizes.values().all(|size| size * 100_000 < 4 * 1024 * 1024),
            "{sizes:?}"
        );
    }

    #[test]
    fn sessions_with_many_groups_share_the_entry_of_the_groups() {
        let bucket = MockBucket::default();
        let signer = signer(&bucket, 0);
        let groups: Vec<_> = (100..200).map(|number| format!("group-{number}")).collect();
        let of = |user_id: &str| Person {
            user_id: user_id.into(),
            groups: groups.clone(),
            ..Person::default()
        };
        let open = |user_id: &str| signer.open(of(user_id), Notes::default(), ENDS).unwrap();
        let sessions: Vec<_> = (0..50).map(|_| open("ada")).collect();
        let bob = open("bob");
        assert_eq!(bucket.list_keys(None).unwrap().keys.len(), 1);

        signer.revoke(&sessions[0].refresh_token).unwrap();
        assert_eq!(signer.verify(&sessions[0].access_token).unwrap(), None);
        let checked = signer.verify(&bob.access_token).unwrap().unwrap();
        assert_eq!(checked.person, of("bob"));
    }

    #[test]
    fn sessions_of_the_version_before_are_remembered_where_they_were() {
        let bucket = MockBucket::default();
        let signer = signer(&bucket, 0);
        let sid = "0123456789abcdef0123456789abcdef".to_owned();
        let before = Checked {
            person: ada(),
            notes: Notes::default(),
            expires_at: 100,
            sid,
            generation: 0,
        };
        let session = signer.session(before, ENDS).unwrap();
        bucket
            .set("session:0123456789abcdef0123456789abcdef", OVER)
            .unwrap();
        assert_eq!(signer.verify(&session.access_token).unwrap(), None);
    }

    #[test]
    fn revoked_session_is_over_for_every_token_of_it() {
        let bucket = MockBucket::default();
        let signer = signer(&bucket, 0);
        let notes = Notes {
            both: "mark".into(),
            refresh: "theirs".into(),
        };
        let session = signer.open(ada(), notes.clone(), ENDS).unwrap();
        assert_eq!(
            signer
                .verify(&session.access_token)
                .unwrap()
                .unwrap()
                .notes
                .refresh,
            ""
        );
        assert_eq!(
            signer
                .revoke(&session.refresh_token)
                .unwrap()
                .unwrap()
                .notes,
            notes
        );
        assert_eq!(signer.verify(&session.access_token).unwrap(), None);
        assert_eq!(
            signer.look_at(&session.refresh_token),
            Err(RefreshError::Expired)
        );
    }
}
