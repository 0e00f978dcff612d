//! Which platform, organisation and space the verbs are about.
//!
//! On a machine that runs a platform, its administrator's socket; elsewhere what `login` kept.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::{Common, client::Client};

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

/// A client, and the space that it is about.
pub(crate) struct Target {
    pub client: Client,
    pub organization: String,
    pub space: String,
}

impl Target {
    pub(crate) fn resolve(common: &Common) -> anyhow::Result<Self> {
        let socket = common.run_dir.join("api.sock");
        if may_open(&socket) {
            return Ok(Self {
                client: Client::on_socket(socket),
                organization: "default".to_owned(),
                space: "dev".to_owned(),
            });
        }
        let Some(login) = Login::load()? else {
            bail!(
                "no platform runs in {} that you administer, and you are not logged in\n\n\
                 hint: start one with `cupola up`, or `cupola login URL` to another",
                common.run_dir.display()
            );
        };
        Ok(Self {
            organization: login.organization.clone(),
            space: login.space.clone(),
            client: Client::logged_in(login)?,
        })
    }
}

/// Root and the owner may; that nobody listens is told when it is used.
fn may_open(socket: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(socket, Access::WRITE_OK).is_ok()
}
