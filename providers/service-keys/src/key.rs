use jiff::Timestamp;
use portcullis_guest::{Fields, Host, TokenPrincipal};
use serde_json::Value;
use subtle::ConstantTimeEq;

const DIGEST_BYTES: usize = 32;

/// The fields of an entry of `keys`.
const FIELDS: &[&str] = &["sha256", "principal", "scopes", "expires_at"];

/// A key that was read without a mistake.
pub(crate) struct ServiceKey {
    digest: [u8; DIGEST_BYTES],
    principal: String,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
}

impl ServiceKey {
    pub(crate) fn matches(&self, digest: &[u8]) -> bool {
        self.digest.as_slice().ct_eq(digest).into()
    }

    /// The clock is read only for a key that expires.
    pub(crate) fn is_live(&self, now: impl FnOnce() -> u64) -> bool {
        self.expires_at
            .is_none_or(|expiry| i64::try_from(now()).is_ok_and(|now| now < expiry.as_second()))
    }

    pub(crate) fn into_principal(self) -> TokenPrincipal {
        TokenPrincipal {
            principal: self.principal,
            scopes: self.scopes,
            groups: Vec::new(),
        }
    }
}

/// The setting `keys`, or what is wrong with it, naming the entry and the field.
pub(crate) fn read_all(host: &dyn Host) -> Result<Vec<ServiceKey>, String> {
    let Some(text) = host.setting("keys") else {
        return Ok(Vec::new());
    };
    let Ok(Value::Array(entries)) = serde_json::from_str(&text) else {
        return Err("`keys` must be a list".to_owned());
    };
    let mut keys: Vec<ServiceKey> = Vec::with_capacity(entries.len());

    for (index, entry) in entries.into_iter().enumerate() {
        let key = read_one(&format!("keys[{index}]"), entry)?;
        if keys.iter().any(|other| other.digest == key.digest) {
            return Err(format!(
                "keys[{index}].sha256: the same key is listed twice"
            ));
        }
        keys.push(key);
    }

    Ok(keys)
}

fn read_one(path: &str, entry: Value) -> Result<ServiceKey, String> {
    let mut entry = Fields::of(path, entry, FIELDS)?;
    let mut digest = [0; DIGEST_BYTES];
    hex::decode_to_slice(entry.needed_text("sha256")?, &mut digest).map_err(|_| {
        format!("{path}.sha256: must be the 64 hex digits of the key's SHA-256 digest")
    })?;
    let principal = entry.needed_text("principal")?;
    if principal.is_empty() {
        return Err(format!("{path}.principal: must not be empty"));
    }

    let expires_at = entry
        .text("expires_at")?
        .map(|text| text.parse())
        .transpose()
        .map_err(|_| {
            format!("{path}.expires_at: must be an RFC 3339 time like 2027-01-01T00:00:00Z")
        })?;

    Ok(ServiceKey {
        digest,
        principal,
        scopes: entry.texts("scopes")?,
        expires_at,
    })
}
