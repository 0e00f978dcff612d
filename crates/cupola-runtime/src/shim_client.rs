//! Control's side of a shim: starting one, talking to it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Command,
    time::timeout,
};

use crate::{
    error::{Doing, RuntimeError},
    protocol::{Event, Request, to_line},
    records,
    shim::{READY, names},
};

/// Starting a container takes some tens of milliseconds; more than this means that it hangs.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a shim starts the container or takes over one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShimMode {
    Start,
    Adopt,
}

/// A connection to a shim.
#[derive(Debug)]
pub(crate) struct ShimClient {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    line: Vec<u8>,
}

impl ShimClient {
    /// Starts a shim for the container in `folder`, and waits until it watches it.
    pub(crate) async fn spawn(
        self_exe: &Path,
        folder: &Path,
        mode: ShimMode,
    ) -> Result<(), RuntimeError> {
        let mode = if mode == ShimMode::Adopt { "adopt" } else { "start" };
        let log = File::options()
            .append(true)
            .create(true)
            .open(folder.join(names::SHIM_LOG))
            .doing(|| "open the log of the shim".to_owned())?;
        let mut child = Command::new(self_exe)
            .args(["shim", mode])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(false)
            .spawn()
            .doing(|| format!("start the shim `{}`", self_exe.display()))?;
        let stdout = child.stdout.take();
        let read = async {
            let mut line = String::new();
            if let Some(stdout) = stdout {
                // Ends without a line when the shim is gone.
                let _ = BufReader::new(stdout).read_line(&mut line).await;
            }
            line
        };
        let said = timeout(START_TIMEOUT, read).await;
        let outcome = match &said {
            Ok(text) if text.trim() == READY => Ok(()),
            Ok(_) => Err(()),
            Err(_) => {
                let _ = child.start_kill();
                Err(())
            }
        };
        // Somebody must take its exit status, whenever it ends.
        tokio::spawn(async move { child.wait().await });
        outcome.map_err(|()| RuntimeError::NotStarted { detail: why_not(folder) })
    }

    /// Connects to the shim of the container in `folder`.
    pub(crate) async fn connect(folder: &Path) -> io::Result<Self> {
        // The path may be longer than a socket address can be, so it goes through a descriptor.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{}", opened.as_fd().as_raw_fd(), names::SOCKET);
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        Ok(Self { reader: BufReader::with_capacity(64 << 10, reader), writer, line: Vec::new() })
    }

    pub(crate) async fn send(&mut self, request: &Request) -> io::Result<()> {
        self.writer.write_all(&to_line(request)).await
    }

    /// The next event; an error when the shim is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        // What was read before a cancel stays in `line`.
        self.reader.read_until(b'\n', &mut self.line).await?;
        if self.line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let event = serde_json::from_slice(&self.line).map_err(io::Error::other);
        self.line.clear();
        event
    }

    /// Asks for output and exit; hands back the shim's first answer.
    pub(crate) async fn attach(&mut self) -> io::Result<Event> {
        self.send(&Request::Attach { version: records::VERSION }).await?;
        self.next().await
    }
}

/// What the shim left behind about its failure.
fn why_not(folder: &Path) -> String {
    let record = records::read::<records::ExitRecord>(&folder.join(names::EXIT));
    if let Ok(Some(records::ExitRecord { end: records::End::NotStarted { detail }, .. })) = record {
        return detail;
    }
    let log = std::fs::read_to_string(folder.join(names::SHIM_LOG)).unwrap_or_default();
    let last = log.lines().next_back().unwrap_or("the shim ended without a word");
    last.to_owned()
}
