//! Seals what users trust the platform with, so that the database alone does not tell it.
//!
//! ChaCha20-Poly1305 with a random nonce for each secret. What a secret belongs to is sealed with
//! it, so that one row's cannot be put into another row. The first key of the file seals; every key
//! of it opens, so that a new key can be put before the old one.
//!
//! Invariant: no error of this module tells a secret or a key.

use base64::{Engine, engine::general_purpose::STANDARD};
use cupola_domain::{
    generations::Generation, sealed::Sealed, services::ServiceInstance, tasks::Task,
};
use cupola_ports::store::{Condition, Noun, Query, Store, StoreError, Value};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::ControlError;

/// What each key of the file begins with.
const KEY_LINE: &str = "cupola-sealing-key-v1";
const KEY_BYTES: usize = 32;
/// Bytes of the key's SHA-256 that name it.
const KEY_ID_BYTES: usize = 8;

/// The keys of an installation.
pub struct Vault {
    sealing: Key,
    /// Older ones, which only open.
    others: Vec<Key>,
}

struct Key {
    id: String,
    aead: LessSafeKey,
}

/// Why a key file is none.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    #[error("line {line} is not `{KEY_LINE}` followed by 32 bytes in base64")]
    Line { line: usize },
    #[error("it has no key")]
    Empty,
}

/// Why the platform cannot start on a database.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "the database has secrets in `{table}` that were sealed with the key {key}, which the key \
         file does not have. Put the key file of this installation back, from where its backups \
         are; without it, the credentials of services are lost"
    )]
    UnknownKey { table: &'static str, key: String },
    #[error("cannot look for sealed secrets in the database")]
    Store(#[from] StoreError),
}

/// Why a sealed secret cannot be read.
#[derive(Debug, thiserror::Error)]
enum CannotOpen {
    #[error("it is of a format that this version does not know")]
    Format,
    #[error("the key {0} is not in the key file")]
    Key(String),
    #[error("it was changed, or belongs to something else")]
    Changed,
    #[error("what was sealed is not what is expected")]
    Content(#[source] serde_json::Error),
}

impl Vault {
    /// The content of a new key file.
    pub fn new_key_file() -> Result<String, getrandom::Error> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)?;
        Ok(format!(
            "# The credentials of services are sealed with this key. Without it they are lost.\n\
             {KEY_LINE} {}\n",
            STANDARD.encode(key)
        ))
    }

    /// Reads a key file: a key in each line, the sealing one first; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = line.strip_prefix(KEY_LINE).and_then(|key| Key::read(key.trim()));
            keys.push(key.ok_or(BadKeys::Line { line: number + 1 })?);
        }
        let mut keys = keys.into_iter();
        let sealing = keys.next().ok_or(BadKeys::Empty)?;
        Ok(Self { sealing, others: keys.collect() })
    }

    /// Refuses a database with secrets that none of the keys opens.
    pub async fn check(&self, store: &dyn Store) -> Result<(), VaultError> {
        let mut tx = store.read().await?;
        for table in
            [<ServiceInstance as Noun>::TABLE, <Generation as Noun>::TABLE, <Task as Noun>::TABLE]
        {
            let mut known = vec![Value::Null];
            known.extend(self.keys().map(|key| Value::Text(key.id.clone())));
            let foreign = Query::all().and(Condition::NotIn("sealing_key", known));
            let foreign = Query { limit: Some(1), ..foreign };
            let at = table.columns.iter().position(|column| column.name == "sealing_key");
            if let Some(row) = tx.list_rows(table, &foreign).await?.items.first() {
                let key = match at.and_then(|at| row.values.get(at)) {
                    Some(Value::Text(key)) => key.clone(),
                    _ => String::new(),
                };
                return Err(VaultError::UnknownKey { table: table.name, key });
            }
        }
        Ok(())
    }

    /// Seals a secret of the thing that `owner` names.
    pub(crate) fn seal(
        &self,
        owner: &str,
        secret: &impl Serialize,
    ) -> Result<Sealed, ControlError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ControlError::Outside {
            action: "sealing a secret",
            source,
        };
        let mut bytes = serde_json::to_vec(secret).map_err(|error| failed(Box::new(error)))?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| failed(Box::new(error)))?;
        self.sealing
            .aead
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(owner.as_bytes()),
                &mut bytes,
            )
            .map_err(|_| failed("the secret is too large".into()))?;
        let sealed: Vec<u8> = nonce.into_iter().chain(bytes).collect();
        Ok(Sealed::new(&self.sealing.id, &STANDARD.encode(sealed)))
    }

    /// What was sealed for `owner`.
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        owner: &str,
        sealed: &Sealed,
    ) -> Result<T, ControlError> {
        self.try_open(owner, sealed).map_err(|error| ControlError::Outside {
            action: "opening a sealed secret",
            source: Box::new(error),
        })
    }

    fn try_open<T: DeserializeOwned>(&self, owner: &str, sealed: &Sealed) -> Result<T, CannotOpen> {
        let (key, text) = sealed.parts().ok_or(CannotOpen::Format)?;
        let missing = || CannotOpen::Key(key.to_owned());
        let key = self.keys().find(|one| one.id == key).ok_or_else(missing)?;
        let mut bytes = STANDARD.decode(text).map_err(|_| CannotOpen::Format)?;
        let (nonce, secret) =
            bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or(CannotOpen::Format)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.aead.open_in_place(nonce, Aad::from(owner.as_bytes()), secret);
        let opened = opened.map_err(|_| CannotOpen::Changed)?;
        serde_json::from_slice(opened).map_err(CannotOpen::Content)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.sealing).chain(&self.others)
    }
}

impl Key {
    fn read(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let aead = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok()?);
        let hash = digest(&SHA256, &bytes);
        let id = hash.as_ref().iter().take(KEY_ID_BYTES).map(|byte| format!("{byte:02x}"));
        Some(Self { id: id.collect(), aead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::parse(&Vault::new_key_file().unwrap()).unwrap()
    }

    #[test]
    fn what_is_sealed_is_not_seen_and_can_be_opened() {
        let vault = vault();

        let sealed = vault.seal("service_instance/1", &"s3cret").unwrap();
        let again = vault.seal("service_instance/1", &"s3cret").unwrap();

        assert!(!serde_json::to_string(&sealed).unwrap().contains("s3cret"));
        assert_ne!(sealed, again, "equal secrets must not be recognised");
        assert_eq!(vault.open::<String>("service_instance/1", &sealed).unwrap(), "s3cret");
    }

    #[test]
    fn secret_of_another_row_or_a_changed_one_is_refused() {
        let vault = vault();
        let sealed = vault.seal("service_instance/1", &"s3cret").unwrap();
        let (key, text) = sealed.parts().unwrap();
        let mut bytes = STANDARD.decode(text).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let changed = Sealed::new(key, &STANDARD.encode(bytes));

        assert!(vault.open::<String>("service_instance/2", &sealed).is_err());
        assert!(vault.open::<String>("service_instance/1", &changed).is_err());
        assert!(vault.open::<String>("service_instance/1", &Sealed::new(key, "AA==")).is_err());
    }

    #[test]
    fn new_key_before_the_old_one_seals_and_the_old_one_still_opens() {
        let old_file = Vault::new_key_file().unwrap();
        let old = Vault::parse(&old_file).unwrap();
        let sealed = old.seal("task/1", &"s3cret").unwrap();

        let both = format!("{}\n{old_file}", Vault::new_key_file().unwrap());
        let both = Vault::parse(&both).unwrap();

        assert_eq!(both.open::<String>("task/1", &sealed).unwrap(), "s3cret");
        assert_ne!(both.seal("task/1", &"s3cret").unwrap().key(), sealed.key());
        assert!(vault().open::<String>("task/1", &sealed).is_err());
    }

    #[test]
    fn key_file_that_is_none_is_refused_with_its_line() {
        let error = |text: &str| Vault::parse(text).map(|_| ()).unwrap_err().to_string();

        assert_eq!(error("# nothing\n"), "it has no key");
        assert!(error("# a\nAAAA\n").starts_with("line 2 is not"));
        assert!(error("cupola-sealing-key-v1 AAAA").starts_with("line 1 is not"));
    }
}
