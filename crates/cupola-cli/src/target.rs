//! Which platform, organisation and space the verbs are about.
//!
//! A run directory that is named, else the login, else the platform in the usual run directory of
//! this machine, through its administrator's socket.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::{Common, client::Client, credentials::Login, output::say};

const RUN_DIR: &str = "/run/cupola";

/// A client, and the space that it is about.
pub(crate) struct Target {
    pub client: Client,
    pub organization: String,
    pub space: String,
}

/// How a platform is reached.
enum Way {
    Socket(PathBuf),
    Login(Login),
}

impl Target {
    pub(crate) fn resolve(common: &Common) -> anyhow::Result<Self> {
        match way(common.run_dir.as_deref(), Path::new(RUN_DIR), Login::load()?)? {
            Way::Socket(socket) => Ok(Self {
                client: Client::on_socket(socket),
                organization: "default".to_owned(),
                space: "dev".to_owned(),
            }),
            Way::Login(login) => Ok(Self {
                organization: login.organization.clone(),
                space: login.space.clone(),
                client: Client::logged_in(login)?,
            }),
        }
    }
}

fn way(named: Option<&Path>, usual: &Path, login: Option<Login>) -> anyhow::Result<Way> {
    let socket = |run_dir: &Path| Some(run_dir.join("api.sock")).filter(|path| may_open(path));
    match (named, login) {
        (Some(run_dir), _) => match socket(run_dir) {
            Some(socket) => Ok(Way::Socket(socket)),
            None => bail!(
                "no platform runs in {} that you administer\n\n\
                 hint: start it with `cupola up --run-dir {}`, or name none to use your login",
                run_dir.display(),
                run_dir.display()
            ),
        },
        (None, Some(login)) => {
            if socket(usual).is_some() {
                say(&format!(
                    "using your login to {}, and not the platform on this machine (`cupola logout` \
                     or --run-dir changes that)",
                    login.api
                ));
            }
            Ok(Way::Login(login))
        }
        (None, None) => match socket(usual) {
            Some(socket) => Ok(Way::Socket(socket)),
            None => bail!(
                "no platform runs in {} that you administer, and you are not logged in\n\n\
                 hint: start one with `cupola up`, or `cupola login URL` to another",
                usual.display()
            ),
        },
    }
}

/// Root and the owner may; that nobody listens is told when it is used.
fn may_open(socket: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(socket, Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_dir() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("api.sock"), "").unwrap();
        folder
    }

    fn login() -> Option<Login> {
        Some(Login { api: "https://elsewhere".to_owned(), ..Login::default() })
    }

    #[test]
    fn a_named_run_directory_wins_over_a_login_and_a_login_over_the_usual_one() {
        let (named, usual) = (run_dir(), run_dir());
        let socket = |way: Way| match way {
            Way::Socket(path) => path.parent().map(Path::to_owned),
            Way::Login(_) => None,
        };

        let with_both = way(Some(named.path()), usual.path(), login()).unwrap();
        assert_eq!(socket(with_both).as_deref(), Some(named.path()));
        assert_eq!(socket(way(None, usual.path(), login()).unwrap()), None);
        let without_login = way(None, usual.path(), None).unwrap();
        assert_eq!(socket(without_login).as_deref(), Some(usual.path()));
    }

    #[test]
    fn nothing_is_used_in_the_place_of_a_run_directory_that_was_named() {
        let usual = run_dir();

        let refused = way(Some(Path::new("/nonexistent")), usual.path(), login()).err().unwrap();

        assert!(refused.to_string().contains("no platform runs in /nonexistent"), "{refused}");
    }
}
