//! What claims say of a person, and who may sign in.
//!
//! **Invariant:** a [`Person`] has only texts that the host takes. What an issuer or a person chose
//! refuses that person at the most; it is never a fault of the provider.

use jwt_keys::ClaimsSet;
use person_text::{MAX_NAME_BYTES, check_identifier, shown, shown_within};
use portcullis_guest::Fields;
use serde_json::{Map, Value};
use session_tokens::Person;
use std::collections::BTreeMap;

/// Claims that hold a name to show, where the configured one is missing.
const OTHER_NAMES: &[&str] = &["preferred_username", "nickname"];
/// Longest texts of a person together, in bytes: with them, no cookie of a session has more than 2
/// KiB, which is what common proxies have room for. A user id and an e-mail fit.
const MAX_PERSON_BYTES: usize = 520;
/// Longest text of a refused person's own choice in the reason, in bytes. The host's audit line has
/// room for it and for the subject beside it.
const MAX_CHOSEN_BYTES: usize = 100;
/// The most groups that the host takes.
const MAX_GROUPS: usize = 256;
/// By this beginning the host knows that the person is known and may not enter.
const NOT_ALLOWED: &str = "not allowed: ";
/// Shorter texts are no codes that a name could give away; the host draws the same line.
const MIN_SECRET_BYTES: usize = 8;

/// The fields of the setting `claims`.
const FIELDS: &[&str] = &["user_id", "email", "display_name", "org_id", "groups"];

/// Which claim says what: a name, or a dotted path. `None` and empty: the default.
#[derive(Debug, Default)]
pub(crate) struct ClaimNames {
    user_id: Option<String>,
    email: Option<String>,
    display_name: Option<String>,
    org_id: Option<String>,
    groups: Option<String>,
}

/// The rules for people.
pub(crate) struct PersonRules {
    claims: ClaimNames,
    /// A person has one of the values of each.
    require: BTreeMap<String, Vec<String>>,
}

impl ClaimNames {
    pub(crate) fn read(setting: Value) -> Result<Self, String> {
        let mut fields = Fields::of("claims", setting, FIELDS)?;
        Ok(Self {
            user_id: fields.text("user_id")?,
            email: fields.text("email")?,
            display_name: fields.text("display_name")?,
            org_id: fields.text("org_id")?,
            groups: fields.text("groups")?,
        })
    }

    fn user_id(&self) -> &str {
        self.user_id.as_deref().unwrap_or("sub")
    }

    fn email(&self) -> &str {
        self.email.as_deref().unwrap_or("email")
    }

    fn display_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or("name")
    }

    fn groups(&self) -> &str {
        self.groups.as_deref().unwrap_or("groups")
    }

    /// Where the claim of a rule is: `email` and `groups` are where the settings say.
    fn path<'a>(&'a self, required: &'a str) -> &'a str {
        match required {
            "email" => self.email(),
            "groups" => self.groups(),
            other => other,
        }
    }

    /// Every claim that an operator named, and those that each person should have.
    fn wanted(&self) -> impl Iterator<Item = &str> {
        let named = [&self.org_id, &self.groups]
            .into_iter()
            .filter_map(Option::as_deref);
        [self.user_id(), self.email(), self.display_name()]
            .into_iter()
            .chain(named)
    }
}

impl PersonRules {
    /// Whether the user id is the subject.
    pub(crate) fn are_named_by_subject(&self) -> bool {
        self.claims.user_id() == "sub"
    }

    pub(crate) fn new(
        claims: ClaimNames,
        require: Option<Map<String, Value>>,
    ) -> Result<Self, String> {
        if claims.user_id.as_deref().is_some_and(str::is_empty) {
            return Err("`claims.user_id` is empty: a person needs an identifier".to_owned());
        }

        let require = ClaimsSet(require.unwrap_or_default());
        let rules = require.0.keys().map(|name| {
            let values = require.texts(name);
            match !values.is_empty() && values.len() == require.values(name).len() {
                true => Ok((name.clone(), values)),
                false => Err(format!(
                    "`require.{name}` must be a text or a list of texts"
                )),
            }
        });

        let require = rules.collect::<Result<_, String>>()?;
        Ok(Self { claims, require })
    }

    /// Changes with whom the rules let in, and with what names a person.
    pub(crate) fn mark(&self, issuer: &str, client_id: &str) -> String {
        let mut said = format!(
            "{:?}",
            (issuer, client_id, self.claims.user_id(), &self.require)
        );
        let moved = self
            .require
            .keys()
            .map(|name| (name.as_str(), self.claims.path(name)));
        for (name, path) in moved.filter(|(name, path)| name != path) {
            said.push_str(&format!("{:?}", (name, path)));
        }
        said
    }

    /// Whether a claim is missing that the settings or the rules name, or the e-mail or the name.
    pub(crate) fn lack(&self, claims: &ClaimsSet) -> bool {
        let required = self.require.keys().map(|name| self.claims.path(name));
        let mut wanted = self
            .claims
            .wanted()
            .chain(required)
            .filter(|path| !path.is_empty());
        wanted.any(|path| claims.texts(path).is_empty())
    }

    /// The person of these claims, if that one may sign in.
    ///
    /// # Errors
    /// Why not, as a sentence for the operator's log.
    pub(crate) fn person(&self, claims: &ClaimsSet) -> Result<Person, String> {
        let groups = self.groups(claims);
        for (name, values) in &self.require {
            let path = self.claims.path(name);
            let is_let_in = if path == self.claims.groups() {
                groups.iter().any(|group| values.contains(group))
            } else if path == self.claims.email() {
                // The address that the session gets, and no other of a list.
                values.contains(&self.email(claims))
            } else {
                claims.says_one_of(path, values)
            };
            if !is_let_in {
                let who = self.who(claims);
                return Err(format!(
                    "{NOT_ALLOWED}{who}: the claim `{path}` has none of the required values"
                ));
            }
        }
        // Anyone can claim an address that was not verified.
        if !self
            .decisive_addresses()
            .all(|path| is_verified(claims, path))
        {
            let who = self.who(claims);
            return Err(format!(
                "{NOT_ALLOWED}{who}: the e-mail address is not verified"
            ));
        }
        let user_id = self.user_id(claims)?;
        let is_verified = is_verified(claims, self.claims.email());
        let email = if is_verified {
            self.email(claims)
        } else {
            String::new()
        };
        let mut org_id = self
            .claims
            .org_id
            .as_deref()
            .map_or_else(String::new, |path| whole(claims, path));

        let room = MAX_PERSON_BYTES.saturating_sub(user_id.len() + email.len());
        if org_id.len() > room {
            org_id.clear();
        }
        let display_name =
            shown_within(&self.display_name(claims, is_verified), room - org_id.len());
        Ok(Person {
            user_id,
            email,
            display_name,
            org_id,
            groups: usable(groups),
        })
    }

    /// The claims with an address that decides who a person is, or whether one may sign in.
    fn decisive_addresses(&self) -> impl Iterator<Item = &str> {
        let required = self.require.keys().map(move |name| self.claims.path(name));
        std::iter::once(self.claims.user_id())
            .chain(required)
            .filter(move |path| *path == "email" || *path == self.claims.email())
    }

    /// Adds what the userinfo endpoint says. The ID token is signed, so what it says stays. An
    /// address that one of the two calls unverified is not verified, and neither is one that only
    /// userinfo has and calls nothing, if the ID token has a word about an address without having
    /// one.
    pub(crate) fn add(&self, claims: &mut ClaimsSet, userinfo: ClaimsSet) {
        let path = self.claims.email();
        let is_added = claims.texts(path).is_empty() && !userinfo.texts(path).is_empty();
        let is_silent = verification(&userinfo, path).is_none();
        let is_unverified = !is_verified(&userinfo, path);

        fill(&mut claims.0, userinfo.0);
        let is_of_another = is_added && is_silent && verification(claims, path).is_some();
        if is_unverified || is_of_another {
            mark_unverified(&mut claims.0, path);
        }
    }

    fn user_id(&self, claims: &ClaimsSet) -> Result<String, String> {
        let path = self.claims.user_id();
        let refused =
            |why: &str| format!("{}: the user id (claim `{path}`) {why}", self.who(claims));
        let found = claims.texts(path).len();
        let user_id = claims.only(path).ok_or_else(|| match found {
            0 => refused("is missing"),
            _ => refused("has several values"),
        })?;
        check_identifier(&user_id).map_err(|why| refused(&why.to_string()))?;
        Ok(user_id)
    }

    fn email(&self, claims: &ClaimsSet) -> String {
        whole(claims, self.claims.email())
    }

    fn display_name(&self, claims: &ClaimsSet, is_verified: bool) -> String {
        let paths = [self.claims.display_name(), "name"]
            .into_iter()
            .chain(OTHER_NAMES.iter().copied());
        let mut names = paths
            .flat_map(|path| claims.texts(path))
            .map(|name| shown(&name));
        let name = names.find(|name| !name.is_empty());
        name.or_else(|| is_verified.then(|| self.email(claims)))
            .unwrap_or_default()
    }

    /// As the issuer names them.
    fn groups(&self, claims: &ClaimsSet) -> Vec<String> {
        claims.texts(self.claims.groups())
    }

    /// Names a person that is not let in, for the operator's log and the sign-in page. A verified
    /// address stands alone. What people choose themselves could be a colleague's, so the subject
    /// stands beside it.
    fn who(&self, claims: &ClaimsSet) -> String {
        let first = |path: &str, most: usize| {
            let texts = claims.texts(path).into_iter();
            let mut texts = texts.map(|text| shown_within(&text, most));
            texts.find(|text| !text.is_empty())
        };
        if is_verified(claims, self.claims.email())
            && let Some(email) = first(self.claims.email(), MAX_NAME_BYTES)
        {
            return email;
        }

        let chosen = |path: &str| first(path, MAX_CHOSEN_BYTES);
        let email = chosen(self.claims.email());
        let name = || chosen(self.claims.display_name()).or_else(|| chosen("preferred_username"));
        let (chosen, doubt) = match email {
            Some(email) => (Some(email), "not verified, "),
            None => (name(), ""),
        };
        let subject = first("sub", MAX_NAME_BYTES);
        match (chosen, subject) {
            (Some(chosen), Some(subject)) => format!("{chosen} ({doubt}subject {subject})"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "a person without a name".to_owned(),
        }
    }
}

/// The groups that the host takes: at most [`MAX_GROUPS`], each a name without control or invisible
/// characters.
fn usable(groups: Vec<String>) -> Vec<String> {
    groups
        .into_iter()
        .filter(|group| check_identifier(group).is_ok())
        .take(MAX_GROUPS)
        .collect()
}

/// The claim that says whether an address was verified.
const VERIFIED: &str = "email_verified";

/// Whether the address at a path was verified as far as the issuer says: `true`, as a boolean or as
/// text. Without a word about it, the operator trusts the issuer's addresses.
fn is_verified(claims: &ClaimsSet, path: &str) -> bool {
    match verification(claims, path) {
        None | Some(Value::Bool(true)) => true,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(_) => false,
    }
}

/// What is said of the address at a path: in the object that has it, or else for the whole document.
fn verification<'a>(claims: &'a ClaimsSet, path: &str) -> Option<&'a Value> {
    let beside = holder(&claims.0, path).and_then(|holder| holder.get(VERIFIED));
    beside.or_else(|| claims.0.get(VERIFIED))
}

/// The object in which the claim at a path stands, by the order in which [`ClaimsSet::values`] looks
/// for it.
fn holder<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Map<String, Value>> {
    let found = claims.get(path);
    if found.is_some_and(|value| !value.is_null() && value.as_str() != Some("")) {
        return Some(claims);
    }

    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (name, rest) = path.split_at(dot);
        let rest = rest.trim_start_matches('.');
        match claims.get(name)? {
            Value::Object(below) => holder(below, rest),
            Value::Array(members) => members
                .iter()
                .filter_map(Value::as_object)
                .find_map(|below| holder(below, rest)),
            _ => None,
        }
    })
}

/// Says in every object on the way to a path that an address there is not verified.
fn mark_unverified(claims: &mut Map<String, Value>, path: &str) {
    claims.insert(VERIFIED.to_owned(), Value::Bool(false));
    for (dot, _) in path.rmatch_indices('.') {
        let (name, rest) = path.split_at(dot);
        let rest = rest.trim_start_matches('.');
        match claims.get_mut(name) {
            Some(Value::Object(below)) => mark_unverified(below, rest),
            Some(Value::Array(members)) => members
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|below| mark_unverified(below, rest)),
            _ => {}
        }
    }
}

/// A text that is no other when it is cut, such as an address: whole, or empty where the host would
/// not take it.
fn whole(claims: &ClaimsSet, path: &str) -> String {
    let text = claims.texts(path).into_iter().next().unwrap_or_default();
    let text = text.trim();
    check_identifier(text)
        .map(|()| text.to_owned())
        .unwrap_or_default()
}

fn fill(claims: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        let known = claims.entry(name).or_insert(Value::Null);
        if known.is_null() {
            *known = value;
        } else if let (Value::Object(known), Value::Object(more)) = (known, value) {
            fill(known, more);
        }
    }
}

/// The person without the texts that repeat the code of the sign-in: texts of a person are written
/// to logs. `None` if the user id repeats it.
pub(crate) fn without_code(mut person: Person, code: &str) -> Option<Person> {
    let repeats = |text: &str| code.len() >= MIN_SECRET_BYTES && text.contains(code);
    if repeats(&person.user_id) {
        return None;
    }

    for text in [
        &mut person.email,
        &mut person.display_name,
        &mut person.org_id,
    ] {
        if repeats(text) {
            text.clear();
        }
    }

    Some(person)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else {
            panic!("{value} is no object")
        };
        object
    }

    fn people(names: Value, require: Value) -> PersonRules {
        PersonRules::new(ClaimNames::read(names).unwrap(), Some(object(require))).unwrap()
    }

    fn person(names: Value, require: Value, said: Value) -> Result<Person, String> {
        people(names, require).person(&ClaimsSet(object(said)))
    }

    #[test]
    fn claims_become_fields_by_the_settings() {
        let said = json!({"sub": "1", "email": "a@b", "name": "Ada\u{7}", "hd": "b", "id": 42, "ext": {"mail": ["c@d"]}});
        let plain = person(json!({}), json!({}), said.clone()).unwrap();
        assert_eq!(
            (
                plain.user_id.as_str(),
                plain.email.as_str(),
                plain.display_name.as_str(),
                plain.org_id.as_str()
            ),
            ("1", "a@b", "Ada", "")
        );
        let names = json!({"user_id": "id", "org_id": "hd", "email": "ext.mail"});
        let mapped = person(names, json!({}), said).unwrap();
        assert_eq!(
            (
                mapped.user_id.as_str(),
                mapped.org_id.as_str(),
                mapped.email.as_str()
            ),
            ("42", "b", "c@d")
        );
    }

    #[test]
    fn name_falls_back_to_what_else_names_a_person() {
        for (said, expected) in [
            (json!({"name": "Ada", "nickname": "al"}), "Ada"),
            (
                json!({"name": "", "preferred_username": "ada", "nickname": "al"}),
                "ada",
            ),
            (json!({"nickname": "al", "email": "a@b"}), "al"),
            (json!({"email": "a@b"}), "a@b"),
            (json!({"email": "a@b", "email_verified": false}), ""),
            (json!({"name": {"first": "Ada"}}), ""),
        ] {
            let mut all = said.clone();
            all["sub"] = json!("1");
            assert_eq!(
                person(json!({}), json!({}), all).unwrap().display_name,
                expected,
                "{said}"
            );
        }
    }

    #[test]
    fn only_what_says_true_is_verified() {
        for (value, is_verified) in [
            (json!(true), true),
            (json!("true"), true),
            (json!("True"), true),
            (json!("TRUE"), true),
            (json!(false), false),
            (json!("false"), false),
            (json!("False"), false),
            (json!(0), false),
            (json!(1), false),
            (json!("0"), false),
            (json!("1"), false),
            (json!("no"), false),
            (json!("yes"), false),
            (json!(""), false),
            (json!(" true "), false),
            (json!(null), false),
            (json!([]), false),
            (json!([true]), false),
            (json!({}), false),
        ] {
            let said = json!({"sub": "1", "email": "a@b", "email_verified": value});
            let email = person(json!({}), json!({}), said.clone()).unwrap().email;
            assert_eq!(email == "a@b", is_verified, "{value}");
            let required = person(json!({}), json!({"email": ["a@b"]}), said.clone());
            assert_eq!(required.is_ok(), is_verified, "{value}");
            let identifies = person(json!({"user_id": "email"}), json!({}), said);
            assert_eq!(identifies.is_ok(), is_verified, "{value}");
        }
        let moved = json!({"sub": "1", "mail": "a@b", "email_verified": false});
        for require in [json!({"email": ["a@b"]}), json!({"mail": "a@b"})] {
            assert!(person(json!({"email": "mail"}), require, moved.clone()).is_err());
        }
    }

    #[test]
    fn address_that_is_required_is_that_of_the_session() {
        for (said, is_let_in) in [
            (json!("ada@b"), true),
            (json!(" ada@b "), true),
            (json!(["ada@b"]), true),
            (json!(["ada@b", "eve@b"]), true),
            (json!(["eve@b", "ada@b"]), false),
            (json!([null, "ada@b"]), true),
            (json!(["a\nb", "ada@b"]), false),
            (json!(null), false),
        ] {
            for path in ["email", "mail"] {
                let all = json!({"sub": "1", path: said});
                let require = json!({"email": ["ada@b"]});
                let found = person(json!({"email": path}), require, all);
                assert_eq!(found.is_ok(), is_let_in, "{path} {said}: {found:?}");
                assert!(found.is_err() || found.unwrap().email == "ada@b", "{said}");
            }
        }
    }

    #[test]
    fn word_beside_an_address_is_about_that_address() {
        for (ext, outside, is_verified) in [
            (
                json!({"email": "a@b", "email_verified": false}),
                json!(true),
                false,
            ),
            (
                json!({"email": "a@b", "email_verified": true}),
                json!(false),
                true,
            ),
            (json!({"email": "a@b"}), json!(false), false),
            (json!({"email": "a@b"}), json!(true), true),
            (
                json!([{"email": "a@b", "email_verified": false}]),
                json!(true),
                false,
            ),
            (
                json!([{"email": ""}, {"email": "a@b", "email_verified": false}]),
                json!(true),
                false,
            ),
        ] {
            let said = json!({"sub": "1", "ext": ext, "email_verified": outside});
            let names = json!({"email": "ext.email"});
            let email = person(names.clone(), json!({}), said.clone())
                .unwrap()
                .email;
            assert_eq!(email == "a@b", is_verified, "{said}");
            let required = person(names, json!({"email": ["a@b"]}), said.clone());
            assert_eq!(required.is_ok(), is_verified, "{said}");
        }
        let silent = json!({"sub": "1", "ext": {"email": "a@b"}});
        let email = person(json!({"email": "ext.email"}), json!({}), silent);
        assert_eq!(email.unwrap().email, "a@b");
    }

    #[test]
    fn document_that_has_the_address_says_whether_it_is_verified() {
        for (token, userinfo, is_verified) in [
            (
                json!({"email_verified": true}),
                json!({"email": "a@b"}),
                false,
            ),
            (json!({}), json!({"email": "a@b"}), true),
            (
                json!({"email_verified": true}),
                json!({"email": "a@b", "email_verified": true}),
                true,
            ),
            (
                json!({"email_verified": false}),
                json!({"email": "a@b", "email_verified": true}),
                false,
            ),
            (
                json!({"email": "a@b", "email_verified": true}),
                json!({"email": "a@b"}),
                true,
            ),
            (
                json!({"email": "a@b", "email_verified": true}),
                json!({"email": "a@b", "email_verified": false}),
                false,
            ),
            (json!({"email": "a@b"}), json!({}), true),
        ] {
            let nested = |document: &Value| json!({"sub": "1", "ext": document});
            let plain = |document: &Value| {
                let mut document = document.clone();
                document["sub"] = json!("1");
                document
            };
            let documents = [
                ("email", plain(&token), plain(&userinfo)),
                ("ext.email", nested(&token), nested(&userinfo)),
            ];
            for (path, token, userinfo) in documents {
                let rules = people(json!({"email": path}), json!({}));
                let mut all = ClaimsSet(object(token.clone()));
                rules.add(&mut all, ClaimsSet(object(userinfo.clone())));
                let email = rules.person(&all).unwrap().email;
                assert_eq!(email == "a@b", is_verified, "{token} {userinfo}");
            }
        }
    }

    #[test]
    fn only_those_who_are_required_may_sign_in() {
        for (names, require, said, is_let_in) in [
            (
                json!({}),
                json!({"groups": ["admins"]}),
                json!({"groups": ["users", "admins"]}),
                true,
            ),
            (
                json!({}),
                json!({"groups": "admins"}),
                json!({"groups": "admins"}),
                true,
            ),
            (
                json!({}),
                json!({"groups": ["admins"]}),
                json!({"groups": ["users"]}),
                false,
            ),
            (json!({}), json!({"groups": ["admins"]}), json!({}), false),
            (
                json!({}),
                json!({"groups": ["admins"]}),
                json!({"groups": {"admins": true}}),
                false,
            ),
            (
                json!({"groups": "realm_access.roles"}),
                json!({"groups": ["admins"]}),
                json!({"realm_access": {"roles": ["admins"]}}),
                true,
            ),
            (
                json!({"groups": "roles"}),
                json!({"groups": ["admins"]}),
                json!({"groups": ["admins"]}),
                false,
            ),
            (
                json!({}),
                json!({"https://example.com/groups": ["a"]}),
                json!({"https://example.com/groups": ["a"]}),
                true,
            ),
            (json!({}), json!({"level": [3]}), json!({"level": 3}), true),
            (
                json!({}),
                json!({"is_staff": true}),
                json!({"is_staff": true}),
                true,
            ),
            (
                json!({}),
                json!({"is_staff": true}),
                json!({"is_staff": false}),
                false,
            ),
            (
                json!({}),
                json!({"a": ["1"], "b": ["2"]}),
                json!({"a": "1"}),
                false,
            ),
        ] {
            let mut all = said.clone();
            all["sub"] = json!("1");
            assert_eq!(
                person(names, require.clone(), all).is_ok(),
                is_let_in,
                "{require} of {said}"
            );
        }
    }

    #[test]
    fn refused_person_is_named_by_what_is_sure() {
        let long = "a".repeat(MAX_CHOSEN_BYTES);
        let cut = format!("{long} (subject 1)");
        for (said, who) in [
            (
                json!({"sub": "1", "email": "ada@b", "name": "Ada"}),
                "ada@b",
            ),
            (
                json!({"sub": "1", "email": "ada@b", "email_verified": false}),
                "ada@b (not verified, subject 1)",
            ),
            (json!({"sub": "1", "name": "ada@b"}), "ada@b (subject 1)"),
            (
                json!({"sub": "1", "name": format!("{long}ada@b")}),
                cut.as_str(),
            ),
            (json!({"sub": "1"}), "1"),
            (json!({"name": "Ada"}), "Ada"),
            (json!({}), "a person without a name"),
        ] {
            let found = person(json!({}), json!({"groups": "admins"}), said).unwrap_err();
            let start = format!("{NOT_ALLOWED}{who}: the claim `groups`");
            assert!(found.starts_with(&start), "{found}");
        }
    }

    #[test]
    fn person_whose_name_the_host_would_refuse_is_refused_with_the_reason() {
        for (sub, complaint) in [
            (
                json!("x".repeat(300)),
                "ada@b: the user id (claim `sub`) must have at most 256 bytes",
            ),
            (json!("a\tb"), "must not have control"),
            (json!("a\u{202e}b"), "reordering"),
            (json!(" a"), "must not begin or end with a space"),
            (json!(["a", "b"]), "several values"),
            (json!(null), "is missing"),
            (json!(""), "is missing"),
            (json!({}), "is missing"),
        ] {
            let found =
                person(json!({}), json!({}), json!({"sub": sub, "email": "ada@b"})).unwrap_err();
            assert!(found.contains(complaint), "{sub}: {found}");
        }
        let long = "x".repeat(10_000);
        let said = json!({"sub": "1", "email": format!("{long}@b"), "name": long, "org": "a\nb"});
        let ada = person(json!({"org_id": "org"}), json!({}), said).unwrap();
        assert_eq!(
            (
                ada.email.as_str(),
                ada.display_name.len(),
                ada.org_id.as_str()
            ),
            ("", 256, "")
        );
        let hostile = json!({"sub": "1", "email": "a\r\nX: 1@b", "name": [[["deep"]]], "email_verified": true});
        assert_eq!(person(json!({}), json!({}), hostile).unwrap().email, "");
    }

    #[test]
    fn texts_of_a_person_are_bounded_together() {
        let [sub, email, name, org] = ["s", "e", "n", "o"].map(|text| text.repeat(256));
        let said = json!({"sub": sub, "email": email, "name": name, "org": org});
        let largest = person(json!({"org_id": "org"}), json!({}), said).unwrap();
        assert_eq!((largest.user_id, largest.email), (sub, email));
        assert_eq!(
            (largest.display_name.len(), largest.org_id.as_str()),
            (8, "")
        );
    }

    #[test]
    fn userinfo_adds_and_changes_nothing() {
        let merged = |token: Value, userinfo: Value| {
            let mut all = ClaimsSet(object(token));
            people(json!({}), json!({})).add(&mut all, ClaimsSet(object(userinfo)));
            Value::Object(all.0)
        };
        assert_eq!(
            merged(
                json!({"sub": "1", "email": "a@b", "roles": {"x": 1}, "name": null}),
                json!({"sub": "1", "email": "evil@b", "roles": {"x": 2, "y": 3}, "name": "Ada"})
            ),
            json!({"sub": "1", "email": "a@b", "roles": {"x": 1, "y": 3}, "name": "Ada"})
        );
        let unverified = merged(
            json!({"email_verified": true}),
            json!({"email": "a@b", "email_verified": "False"}),
        );
        assert_eq!(unverified["email_verified"], json!(false));
    }

    #[test]
    fn claims_that_are_wanted_and_missing_are_noticed() {
        let full = ClaimsSet(object(json!({"sub": "1", "email": "a@b", "name": "Ada"})));
        for (names, require, is_lacking) in [
            (json!({}), json!({}), false),
            (json!({}), json!({"groups": ["a"]}), true),
            (json!({"groups": "groups"}), json!({}), true),
            (json!({"org_id": "hd"}), json!({}), true),
            (json!({"org_id": "", "email": ""}), json!({}), false),
            (json!({"display_name": "cn"}), json!({}), true),
        ] {
            let found = people(names.clone(), require.clone()).lack(&full);
            assert_eq!(found, is_lacking, "{names} {require}");
        }
        assert!(people(json!({}), json!({})).lack(&ClaimsSet(object(json!({"sub": "1"})))));
    }

    #[test]
    fn no_name_repeats_the_code() {
        let ada = Person {
            user_id: "ada".into(),
            display_name: "code-1234 x".into(),
            ..Person::default()
        };
        assert_eq!(
            without_code(ada.clone(), "code-1234").unwrap().display_name,
            ""
        );
        assert_eq!(
            without_code(ada.clone(), "code").unwrap(),
            ada,
            "too short to be a secret"
        );
        assert_eq!(
            without_code(
                Person {
                    user_id: "code-1234".into(),
                    ..ada
                },
                "code-1234"
            ),
            None
        );
    }
}
