//! Child processes that never outlive the measurement.

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Told to end and collected at the end, whichever way that comes.
pub(crate) struct Guarded(pub(crate) Child);

impl Guarded {
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot run {name}"))?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

/// How long a child may take to end by itself; nginx must end its workers first.
const END_WITHIN: Duration = Duration::from_secs(5);

impl Drop for Guarded {
    fn drop(&mut self) {
        let has_ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        if has_ended(&mut self.0) {
            return;
        }
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let told = Instant::now();
        while !has_ended(&mut self.0) && told.elapsed() < END_WITHIN {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it to its end, with its output kept for the error; fails if it fails or takes too long.
pub(crate) fn finish(command: &mut Command, within: Duration) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = Guarded::spawn(command)?;
    finish_spawned(child, &name, within)
}

pub(crate) fn finish_spawned(
    mut child: Guarded,
    name: &str,
    within: Duration,
) -> anyhow::Result<Output> {
    let streams = (child.0.stdout.take(), child.0.stderr.take());
    let stdout = std::thread::spawn(move || collect(streams.0));
    let stderr = std::thread::spawn(move || collect(streams.1));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        if started.elapsed() > within {
            bail!("{name} took longer than {} s", within.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let collected = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    let output = Output { status, stdout: collected(stdout), stderr: collected(stderr) };
    if !status.success() {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        bail!("{name} failed: {status}\n{}", String::from_utf8_lossy(&said));
    }
    Ok(output)
}

fn collect(stream: Option<impl std::io::Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What could not be read is missing in an error message, no more.
        let _ = stream.read_to_end(&mut bytes);
    }
    bytes
}

/// Looks until something is found.
pub(crate) fn wait_for<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > within {
            bail!("waited {} s in vain for {what}", within.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
