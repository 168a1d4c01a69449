use crate::hash::{PasswordHash, nobodys_hash};
use person_text::{check_identifier, normalised, password as checked_password, shown, user_name};
use portcullis_guest::Fields;
use session_tokens::Person;
use sha2::{Digest, Sha256};

/// The host refuses a session in which a name repeats a password of this length or more, in bytes.
const MIN_REPEATED_BYTES: usize = 8;

/// The fields of a user in the settings.
const FIELDS: &[&str] = &[
    "username",
    "password_hash",
    "user_id",
    "display_name",
    "email",
];

/// A person who may sign in.
pub(crate) struct User {
    /// In Normalization Form C.
    pub(crate) username: String,
    /// What the host knows the person by: it stays when the user name changes.
    pub(crate) user_id: String,
    hash: PasswordHash,
    hash_text: String,
    display_name: String,
    email: String,
}

/// Reads the settings `users` and `users_file`, each a list as JSON. At least one is needed.
pub(crate) fn read_all(inline: Option<&str>, file: Option<&str>) -> Result<Vec<User>, String> {
    if inline.is_none() && file.is_none() {
        return Err("`users` or `users_file` is needed".to_owned());
    }
    let mut users = Vec::new();
    for (setting, text) in [("users", inline), ("users_file", file)] {
        if let Some(text) = text {
            read_list(setting, text, &mut users)?;
        }
    }
    Ok(users)
}

fn read_list(setting: &str, text: &str, users: &mut Vec<User>) -> Result<(), String> {
    let entries: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(|_| format!("`{setting}` must be a list"))?;
    for (index, entry) in entries.into_iter().enumerate() {
        let place = format!("{setting}[{index}]");
        let user = User::read(&place, entry)?;
        if users.iter().any(|known| known.username == user.username) {
            return Err(format!(
                "{place}.username: another user is named {:?}",
                user.username
            ));
        }
        if users.iter().any(|known| known.user_id == user.user_id) {
            return Err(format!(
                "{place}.user_id: another user has the identifier {:?}",
                user.user_id
            ));
        }
        users.push(user);
    }

    Ok(())
}

/// Checks a password. An unknown user, and text that is longer than any password, cost one hash as
/// well, so that the time does not reveal which users exist.
pub(crate) fn check<'a>(users: &'a [User], username: &str, password: &str) -> Option<&'a User> {
    let username = normalised(username);
    let user = users.iter().find(|user| user.username == *username);
    // The hash of another user, so that it costs what this operator's hashes cost: always the same
    // one for a name.
    let stand_in = somebody(users, &username).map_or_else(nobodys_hash, |user| user.hash.clone());
    let hash = user.map_or(&stand_in, |user| &user.hash);
    let password = checked_password(password);
    let is_right = hash.is_of(password.as_deref().unwrap_or_default()) && password.is_ok();
    user.filter(|_| is_right)
}

fn somebody<'a>(users: &'a [User], name: &str) -> Option<&'a User> {
    let all_hashes = users
        .iter()
        .fold(Sha256::new(), |all, user| all.chain_update(&user.hash_text));
    let digest = all_hashes.chain_update(name).finalize();
    let number = digest
        .iter()
        .take(4)
        .fold(0, |number: usize, byte| number << 8 | usize::from(*byte));
    users.get(number.checked_rem(users.len())?)
}

impl User {
    fn read(place: &str, entry: serde_json::Value) -> Result<Self, String> {
        let mut entry = Fields::of(place, entry, FIELDS)?;
        let wrong = |field: &'static str| {
            move |error: person_text::TextError| format!("{place}.{field}: {error}")
        };
        let username = user_name(&entry.needed_text("username")?)
            .map_err(wrong("username"))?
            .into_owned();
        let user_id = entry.text("user_id")?.unwrap_or_else(|| username.clone());
        check_identifier(&user_id).map_err(wrong("user_id"))?;

        let email = entry.text("email")?.unwrap_or_default();
        if !email.is_empty() {
            check_identifier(&email).map_err(wrong("email"))?;
        }

        let hash_text = entry.needed_text("password_hash")?;
        let hash = PasswordHash::read(&hash_text)
            .map_err(|why| format!("{place}.password_hash: {why}"))?;
        let display_name = entry.text("display_name")?;
        let display_name = display_name
            .as_deref()
            .map(shown)
            .filter(|name| !name.is_empty());
        let display_name = display_name.unwrap_or_else(|| username.clone());

        Ok(Self {
            username,
            user_id,
            hash,
            hash_text,
            display_name,
            email,
        })
    }

    /// The memory that checking the password takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.hash.memory()
    }

    /// Changes with the password, and says nothing of it.
    pub(crate) fn mark(&self) -> String {
        hex::encode(&Sha256::digest(&self.hash_text)[..8])
    }

    /// The person who typed this name and this password. `None` when the identifier repeats the
    /// password.
    ///
    /// The host takes a session that repeats the password for one that gives it away, and that
    /// would be a fault of the provider. So a name or an address that does is left out.
    pub(crate) fn person(&self, username: &str, password: &str) -> Option<Person> {
        let is_secret = password.len() >= MIN_REPEATED_BYTES && !username.contains(password);
        let repeats = |text: &String| is_secret && text.contains(password);
        let shown = |text: &String| {
            if repeats(text) {
                String::new()
            } else {
                text.clone()
            }
        };

        (!repeats(&self.user_id)).then(|| Person {
            user_id: self.user_id.clone(),
            email: shown(&self.email),
            display_name: shown(&self.display_name),
            ..Person::default()
        })
    }
}
