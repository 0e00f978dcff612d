//! Command lines as one types them, and users with roles.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    cli::{Cli, Ran},
    platform::Platform,
};

/// What `cf` says to those who see a thing and may not change it.
pub const FORBIDDEN: &str = "You are not authorized to perform the requested action";

/// Words between spaces are arguments; texts with spaces need the slices of `Cli`.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

impl Cli {
    /// Types a line that must succeed.
    #[track_caller]
    pub fn types(&self, line: &str) -> Ran {
        let ran = self.run(&words(line));
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    }

    /// Types a line that must end with exit code 1.
    #[track_caller]
    pub fn is_refused(&self, line: &str) -> Ran {
        let ran = self.run(&words(line));
        assert_eq!(ran.code, Some(1), "{ran}");
        ran
    }

    /// Types a line, and the answers to what it asks.
    pub fn answers(&self, line: &str, answers: &[&str]) -> Ran {
        let mut command = self.command(&words(line));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut typed = answers.join("\n");
        typed.push('\n');
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        Ran::new(&words(line), &child.wait_with_output().unwrap())
    }

    fn settings_file(&self) -> PathBuf {
        let home = self.environment.iter().find(|(key, _)| key == "CF_HOME");
        Path::new(&home.expect("every cf has a home").1).join(".cf/config.json")
    }

    /// Makes this user aim where another one does, seen or not, as one who kept a list of ids could.
    pub fn aim_like(&self, other: &Self) {
        let read = |cli: &Self| -> Value {
            serde_json::from_slice(&fs::read(cli.settings_file()).unwrap()).unwrap()
        };
        let (mut mine, theirs) = (read(self), read(other));
        for key in ["OrganizationFields", "SpaceFields"] {
            mine[key] = theirs[key].clone();
        }
        fs::write(self.settings_file(), mine.to_string()).unwrap();
    }
}

/// A new user and the `cf` of it.
pub fn user(platform: &Platform, admin: &Cli, name: &str) -> Cli {
    let password = format!("password-of-{name}");
    admin.ok(&["create-user", name, &password]);
    platform.cf(name, &password)
}

/// The lines of a manifest diff that would change something.
pub fn changes(ran: &Ran) -> Vec<String> {
    let is_change = |line: &&str| line.starts_with("+ ") || line.starts_with("- ");
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    ran.stdout.lines().filter(is_change).map(squeeze).collect()
}
