//! What `login` keeps for the other verbs, in the user's home.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `login` keeps. It holds tokens: only its owner may read it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Login {
    pub api: String,
    pub access_token: String,
    pub refresh_token: String,
    pub organization: String,
    pub space: String,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    pub skip_tls_validation: bool,
}

impl Login {
    pub(crate) fn take_tokens(&mut self, answer: &Value) -> anyhow::Result<()> {
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        self.access_token = text("access_token").context("the answer has no access token")?;
        self.refresh_token = text("refresh_token").context("the answer has no refresh token")?;
        Ok(())
    }

    pub(crate) fn load() -> anyhow::Result<Option<Self>> {
        let path = path()?;
        match fs::read(&path) {
            Ok(bytes) => {
                let login = serde_json::from_slice(&bytes);
                login.map(Some).with_context(|| {
                    format!("{} is damaged; log in again with `cupola login`", path.display())
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Says whether there was one.
    pub(crate) fn forget() -> anyhow::Result<bool> {
        let path = path()?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// Whole or not at all: a cut file would lose the login.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let path = path()?;
        let folder = path.parent().context("the login file has no folder")?;
        let name = || format!("cannot write {}", path.display());
        fs::create_dir_all(folder).with_context(name)?;
        let unfinished = path.with_extension("new");
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .with_context(name)?;
        file.write_all(&serde_json::to_vec_pretty(self)?).with_context(name)?;
        file.sync_all().with_context(name)?;
        fs::rename(&unfinished, &path).with_context(name)
    }
}

fn path() -> anyhow::Result<PathBuf> {
    let home = std::env::home_dir().context("HOME is not set, so there is no place for a login")?;
    Ok(home.join(".cupola").join("login.json"))
}
