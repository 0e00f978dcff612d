//! Command lines: run, and looked at.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

/// A program that talks to one platform as one user.
pub struct Cli {
    pub program: PathBuf,
    pub environment: Vec<(String, String)>,
    pub directory: PathBuf,
}

/// What a command printed and how it ended.
pub struct Ran {
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    /// Runs it and fails the test unless it succeeds.
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    }

    /// Runs it and fails the test if it succeeds.
    pub fn fails(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_ne!(ran.code, Some(0), "{ran}");
        ran
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the command line can be run");
        Ran::new(arguments, &output)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.directory);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// `cf curl`, read as JSON.
    pub fn json(&self, path: &str) -> serde_json::Value {
        let ran = self.ok(&["curl", path]);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
    }

    /// The same user in another folder.
    pub fn in_directory(&self, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: self.program.clone(),
            environment: self.environment.clone(),
            directory: directory.into(),
        }
    }
}

impl Ran {
    pub fn new(arguments: &[&str], output: &Output) -> Self {
        Self {
            line: arguments.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails the test unless standard output or error contains `text`.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.contains(text), "`{text}` is not in:\n{self}");
        self
    }

    /// Fails the test if standard output or error contains `text`.
    #[track_caller]
    pub fn does_not_say(&self, text: &str) -> &Self {
        assert!(!self.contains(text), "`{text}` is in:\n{self}");
        self
    }

    pub fn contains(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "$ {line}\n{stdout}\n-- standard error\n{stderr}\n-- exit code {code:?}")
    }
}
