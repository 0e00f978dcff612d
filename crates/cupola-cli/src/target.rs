//! Which platform, organisation and space the verbs are about.
//!
//! On a machine that runs a platform, its administrator's socket; elsewhere what `login` kept.

use std::path::Path;

use anyhow::bail;

use crate::{Common, client::Client, credentials::Login};

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
