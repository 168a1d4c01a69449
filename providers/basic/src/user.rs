use crate::hash::{PasswordHash, nobodys_hash};
use serde::Deserialize;
use session_tokens::Person;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    username: String,
    password_hash: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    email: String,
}

/// One who may sign in.
pub(crate) struct User {
    pub(crate) username: String,
    hash: PasswordHash,
    hash_text: String,
    display_name: String,
    email: String,
}

/// Reads the setting `users`.
pub(crate) fn read_all(text: &str) -> Result<Vec<User>, String> {
    let entries: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(|_| "`users` must be a list".to_owned())?;
    let mut users: Vec<User> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let user = User::read(entry).map_err(|(field, why)| format!("users[{index}]{field}: {why}"))?;
        if users.iter().any(|known| known.username == user.username) {
            return Err(format!("users[{index}].username: another user is named {:?}", user.username));
        }
        users.push(user);
    }
    Ok(users)
}

/// Checks a password. An unknown user costs one hash as well, so that the time does not tell.
pub(crate) fn check<'a>(users: &'a [User], username: &str, password: &str) -> Option<&'a User> {
    let user = users.iter().find(|user| user.username == username);
    // The hash of somebody else, so that it costs what this operator's hashes cost: always the same one for a name.
    let stand_in = somebody(users, username).map_or_else(nobodys_hash, |user| user.hash.clone());
    let hash = user.map_or(&stand_in, |user| &user.hash);
    let is_right = hash.is_of(password);
    user.filter(|_| is_right)
}

fn somebody<'a>(users: &'a [User], name: &str) -> Option<&'a User> {
    let all_hashes = users.iter().fold(Sha256::new(), |all, user| all.chain_update(&user.hash_text));
    let digest = all_hashes.chain_update(name).finalize();
    let number = digest.iter().take(4).fold(0, |number: usize, byte| number << 8 | usize::from(*byte));
    users.get(number.checked_rem(users.len())?)
}

impl User {
    fn read(entry: serde_json::Value) -> Result<Self, (&'static str, String)> {
        let entry: Entry = serde_json::from_value(entry).map_err(|error| ("", error.to_string()))?;
        if entry.username.is_empty() || entry.username.len() > 256 {
            return Err((".username", "must have 1 to 256 bytes".to_owned()));
        }
        let hash = PasswordHash::read(&entry.password_hash).map_err(|why| (".password_hash", why))?;
        let Entry { username, password_hash, display_name, email } = entry;
        Ok(Self { username, hash, hash_text: password_hash, display_name, email })
    }

    /// The memory that checking the password takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.hash.memory()
    }

    /// Changes with the password, and says nothing of it.
    pub(crate) fn mark(&self) -> String {
        hex::encode(&Sha256::digest(&self.hash_text)[..8])
    }

    pub(crate) fn person(&self) -> Person {
        let display_name = if self.display_name.is_empty() { &self.username } else { &self.display_name };
        Person {
            user_id: self.username.clone(),
            email: self.email.clone(),
            display_name: display_name.clone(),
            org_id: String::new(),
        }
    }
}
