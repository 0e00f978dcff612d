//! Runs one script of a buildpack.

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

/// Runs a script to its end with the builder's own output. The error is a half sentence.
pub(super) fn run(program: &Path, arguments: &[&OsStr], folder: &Path) -> Result<(), String> {
    let status =
        command(program, arguments, folder).status().map_err(|e| not_started(program, &e))?;
    if status.success() { Ok(()) } else { Err(ended(program, status)) }
}

/// Runs a script and keeps the first bytes of what it prints.
pub(super) fn capture(
    program: &Path,
    arguments: &[&OsStr],
    folder: &Path,
    bytes_max: u64,
) -> Result<Captured, String> {
    let mut child = command(program, arguments, folder)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| not_started(program, &e))?;
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let read = (&mut stdout).take(bytes_max).read_to_end(&mut output);
        // The rest is taken too, or the script would wait for a reader.
        let drained = read.and_then(|_| io::copy(&mut stdout, &mut io::sink()));
        drained.map_err(|e| format!("`{}` cannot be read from: {e}", shown(program)))?;
    }
    let status = child.wait().map_err(|e| not_started(program, &e))?;
    let failure = (!status.success()).then(|| ended(program, status));
    Ok(Captured { output: String::from_utf8_lossy(&output).into_owned(), failure })
}

pub(super) struct Captured {
    pub(super) output: String,
    /// A half sentence that says how it failed.
    pub(super) failure: Option<String>,
}

fn command(program: &Path, arguments: &[&OsStr], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

fn not_started(program: &Path, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "it is not executable".to_owned(),
        io::ErrorKind::NotFound if program.exists() => {
            "the interpreter in its first line is not in the stack".to_owned()
        }
        _ => error.to_string(),
    };
    format!("`{}` could not be started: {why}", shown(program))
}

fn ended(program: &Path, status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("`{}` exited with {code}", shown(program)),
        (None, Some(signal)) => format!("`{}` was killed by signal {signal}", shown(program)),
        (None, None) => format!("`{}` failed", shown(program)),
    }
}

/// `bin/supply` rather than the folder that the buildpack happens to lie in.
fn shown(program: &Path) -> String {
    let name = program.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    format!("bin/{name}")
}
