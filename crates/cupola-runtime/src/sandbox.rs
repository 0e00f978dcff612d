//! One-off confined programs, and the layers that are made of what they wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use cupola_ports::sandbox::{
    Freeze, FrozenLayer, OutputLine, Sandbox, SandboxError, SandboxExit, SandboxOutcome,
    SandboxSpec,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    containers::ContainerSpec,
    error::{Doing, RuntimeError},
    layers::blocking,
    network::{Egress, Slot},
    protocol::{Event, Request},
    records::{self, End, ExitRecord, Kind, LayerRecord},
    runtime::{Inner, Runtime},
    shim_client::{ShimClient, ShimMode},
    teardown,
};

/// The shares of a container whose weight is 100, those of an instance of 1 GiB.
const SHARES_OF_100: u64 = 128;
/// Above it lines are lost and counted: a program that floods its output slows down nobody else.
const OUTPUT_BYTES_PER_S_MAX: i64 = 1 << 20;
const HANDED_BACK: &str = "handed-back";
/// Enough for the largest trees on a slow disk; hashing takes seconds for each gibibyte.
const FREEZE_TIME_MAX: Duration = Duration::from_secs(300);

/// The `Sandbox` port on this host.
#[derive(Clone, Debug)]
pub struct NativeSandbox {
    runtime: Runtime,
}

/// Why a sandbox was killed before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutShort {
    TimeUp,
    Cancelled,
}

impl NativeSandbox {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime }
    }
}

#[async_trait]
impl Sandbox for NativeSandbox {
    async fn run(
        &self,
        spec: SandboxSpec,
        output: mpsc::Sender<OutputLine>,
        cancel: watch::Receiver<bool>,
    ) -> Result<SandboxOutcome, SandboxError> {
        let inner = self.runtime.inner.clone();
        let mut remains = Remains::of(inner.clone(), spec.id.clone());
        let outcome = run(&inner, &spec, output, cancel, &mut remains).await;
        remains.removal().await;
        outcome
    }
}

async fn run(
    inner: &Inner,
    spec: &SandboxSpec,
    output: mpsc::Sender<OutputLine>,
    cancel: watch::Receiver<bool>,
    remains: &mut Remains,
) -> Result<SandboxOutcome, SandboxError> {
    check_id(&spec.id)?;
    let deadline = Instant::now() + spec.limits.time_max;
    let (mut shim, folder) = start(inner, spec, remains).await?;
    let mut lines_lost = 0;
    let ends = Ends { cancel, deadline, shim_patience: inner.config.shim_patience };
    let (record, cut_short) = follow(&mut shim, &output, ends, &mut lines_lost).await?;
    drop(output);
    let exit = exit_of(&record, cut_short);
    let is_good = exit == SandboxExit::Exited { code: 0 };
    if record.disk_full && !is_good && cut_short.is_none() {
        return Err(SandboxError::DiskFull { limit_mib: spec.limits.disk_mib });
    }
    let handed_back = timeout(inner.config.shim_patience, hand_back(&mut shim, spec, &folder))
        .await
        .doing(|| "read what a sandbox hands back".to_owned())??;
    let mut frozen = Vec::new();
    if is_good {
        for freeze in &spec.freeze {
            frozen.push(keep(&mut shim, spec, freeze, remains).await?);
        }
    }
    let _ = shim.send(&Request::Quit).await;
    Ok(SandboxOutcome { exit, lines_lost, frozen, handed_back })
}

async fn start(
    inner: &Inner,
    spec: &SandboxSpec,
    remains: &mut Remains,
) -> Result<(ShimClient, PathBuf), RuntimeError> {
    let permit = inner.starts.acquire().await.map_err(std::io::Error::other);
    let _permit = permit.doing(|| "wait for other starts".to_owned())?;
    check_new(inner, &spec.id)?;
    let egress = if spec.network { Egress::Staging } else { Egress::None };
    // Kept until the end, together with its address.
    let slot = &*remains.slot.insert(inner.network.slot(egress).await?);
    let limits = spec.limits;
    let folder = inner
        .prepare_container(
            &ContainerSpec {
                id: &spec.id,
                kind: Kind::Sandbox,
                layers: &spec.layers,
                stack: &spec.stack,
                argv: &spec.argv,
                sidecars: &[],
                environment: spec.environment.clone(),
                working_directory: &spec.working_directory,
                binds: &spec.binds,
                files: &[],
                memory_mib: limits.memory_mib,
                disk_mib: limits.disk_mib,
                pids_max: limits.pids,
                cpu_shares: (u64::from(limits.cpu_weight) * SHARES_OF_100 / 100).max(2),
                log_rate_bytes_per_s: OUTPUT_BYTES_PER_S_MAX,
            },
            slot,
        )
        .await?;
    ShimClient::spawn(&inner.config.self_exe, &folder, ShimMode::Start).await?;
    let lost = || "reach the shim of a sandbox".to_owned();
    let attached = async {
        let mut shim = ShimClient::connect(&folder).await?;
        shim.attach().await?;
        std::io::Result::Ok(shim)
    };
    let shim = timeout(inner.config.shim_patience, attached).await.doing(lost)?.doing(lost)?;
    Ok((shim, folder))
}

/// What ends a sandbox that does not end by itself.
struct Ends {
    cancel: watch::Receiver<bool>,
    deadline: Instant,
    /// From the kill to the word of it.
    shim_patience: Duration,
}

/// Passes lines on until the program has ended, by itself or because it must.
async fn follow(
    shim: &mut ShimClient,
    output: &mpsc::Sender<OutputLine>,
    ends: Ends,
    lines_lost: &mut u64,
) -> Result<(ExitRecord, Option<CutShort>), RuntimeError> {
    let lost = || "follow a sandbox: its shim is gone".to_owned();
    let Ends { mut cancel, deadline, shim_patience } = ends;
    let mut cut_short = None;
    let mut can_cancel = true;
    let mut killed_at = deadline;
    loop {
        let event = tokio::select! {
            event = shim.next() => event.doing(lost)?,
            () = sleep_until(deadline), if cut_short.is_none() => {
                cut_short = Some(CutShort::TimeUp);
                killed_at = Instant::now();
                shim.send(&Request::Kill).await.doing(lost)?;
                continue;
            }
            cancelled = turns_true(&mut cancel), if cut_short.is_none() && can_cancel => {
                // Whoever could cancel may be gone: then it runs to its end.
                can_cancel = cancelled;
                if cancelled {
                    cut_short = Some(CutShort::Cancelled);
                    killed_at = Instant::now();
                    shim.send(&Request::Kill).await.doing(lost)?;
                }
                continue;
            }
            () = sleep_until(killed_at + shim_patience), if cut_short.is_some() => {
                Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
                    .doing(|| "end a sandbox: its shim does not answer".to_owned())?
            }
        };
        match event {
            Event::Line { stderr, message, .. } => {
                let line = OutputLine { is_stderr: stderr, message: message.into_bytes() };
                if output.try_send(line).is_err() {
                    *lines_lost += 1;
                }
            }
            Event::Lost { lines, .. } => *lines_lost += lines,
            Event::Exit { record } => return Ok((record, cut_short)),
            _ => {}
        }
    }
}

/// False if it never will.
async fn turns_true(flag: &mut watch::Receiver<bool>) -> bool {
    flag.wait_for(|is_set| *is_set).await.is_ok()
}

fn exit_of(record: &ExitRecord, cut_short: Option<CutShort>) -> SandboxExit {
    match (cut_short, &record.end) {
        (Some(CutShort::TimeUp), _) => SandboxExit::TimeUp,
        (Some(CutShort::Cancelled), _) => SandboxExit::Cancelled,
        (None, End::Exited { code: 137 } | End::Signaled { signal: 9 }) if record.oom_kills > 0 => {
            SandboxExit::OutOfMemory
        }
        (None, End::Exited { code }) => SandboxExit::Exited { code: *code },
        (None, End::Signaled { signal }) => SandboxExit::Signaled { signal: *signal },
        (None, End::NotStarted { .. } | End::Unknown) => SandboxExit::Signaled { signal: 9 },
    }
}

async fn hand_back(
    shim: &mut ShimClient,
    spec: &SandboxSpec,
    folder: &Path,
) -> Result<Vec<(String, Vec<u8>)>, RuntimeError> {
    let mut files = Vec::new();
    for wanted in &spec.hand_back {
        let into = folder.join(HANDED_BACK);
        let request = Request::HandBack {
            path: wanted.path.clone(),
            into: into.clone(),
            bytes_max: wanted.bytes_max,
        };
        if let Event::HandedBack { found: true } = ask(shim, &request).await? {
            let bytes = fs::read(&into).doing(|| format!("read `{}`", wanted.path))?;
            files.push((wanted.path.clone(), bytes));
        }
    }
    Ok(files)
}

/// Freezes trees of the ended container as a layer.
async fn keep(
    shim: &mut ShimClient,
    spec: &SandboxSpec,
    freeze: &Freeze,
    remains: &mut Remains,
) -> Result<FrozenLayer, RuntimeError> {
    let store = remains.inner.layers.clone();
    let into = store.new_unfinished()?;
    remains.unfinished.push(into.clone());
    // Files with holes can be larger than the disk that they are on. Their zeros take time to hash
    // though they take no room, so not by much.
    let bytes_max = (u64::from(spec.limits.disk_mib) << 20) * 2;
    let request = Request::Freeze { paths: freeze.paths.clone(), into: into.clone(), bytes_max };
    let asked = timeout(FREEZE_TIME_MAX, ask(shim, &request));
    match asked.await.doing(|| "freeze what a sandbox wrote".to_owned())?? {
        Event::Frozen { digest, bytes, entries } => {
            let unsynced_boot = Some(remains.inner.boot_id.clone());
            let record =
                LayerRecord { version: records::VERSION, digest, bytes, entries, unsynced_boot };
            let name = freeze.name.clone();
            let kept = blocking(move || store.finish(name, &into, &record)).await?;
            // Soon durable, and nobody waits for it: other writers may have left much to do.
            let (store, digest) = (remains.inner.layers.clone(), kept.digest.clone());
            tokio::task::spawn_blocking(move || store.sync(&digest));
            Ok(kept)
        }
        Event::Failed { too_large: true, .. } => {
            Err(RuntimeError::TreeTooLarge { limit_mib: spec.limits.disk_mib.into() })
        }
        Event::Failed { detail, .. } => {
            Err(RuntimeError::Format { what: format!("what `{}` wrote", freeze.name), detail })
        }
        _ => Err(RuntimeError::Format {
            what: "the answer of a shim".to_owned(),
            detail: "unexpected".to_owned(),
        }),
    }
}

/// A request that has an answer.
async fn ask(shim: &mut ShimClient, request: &Request) -> Result<Event, RuntimeError> {
    let lost = || "ask the shim of a sandbox".to_owned();
    shim.send(request).await.doing(lost)?;
    shim.next().await.doing(lost)
}

fn check_id(id: &str) -> Result<(), RuntimeError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !id.is_empty() && id.len() <= 64 && id.chars().all(is_plain) {
        return Ok(());
    }
    Err(RuntimeError::Format {
        what: format!("the sandbox name `{id}`"),
        detail: "use letters, digits and `-`".to_owned(),
    })
}

/// Before anything of it exists, as what exists under its name is taken away at the end.
fn check_new(inner: &Inner, id: &str) -> Result<(), RuntimeError> {
    if !inner.paths.instance(id).exists() {
        return Ok(());
    }
    Err(RuntimeError::Format {
        what: format!("the sandbox name `{id}`"),
        detail: "another one of that name is there".to_owned(),
    })
}

/// What must be taken away at the end, also when nobody waits for the result any more.
struct Remains {
    inner: Arc<Inner>,
    id: String,
    slot: Option<Slot>,
    /// Folders in which layers were being made. Those that were finished are elsewhere by now.
    unfinished: Vec<PathBuf>,
}

impl Remains {
    fn of(inner: Arc<Inner>, id: String) -> Self {
        Self { inner, id, slot: None, unfinished: Vec::new() }
    }

    fn removal(&mut self) -> impl Future<Output = ()> + use<> {
        let (inner, id) = (self.inner.clone(), self.id.clone());
        let (slot, unfinished) = (self.slot.take(), std::mem::take(&mut self.unfinished));
        remove(inner, id, slot, unfinished)
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        if self.slot.is_none() {
            return;
        }
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(self.removal());
        }
    }
}

async fn remove(inner: Arc<Inner>, id: String, slot: Option<Slot>, unfinished: Vec<PathBuf>) {
    let Some(slot) = slot else { return };
    let folder = inner.paths.instance(&id);
    // A shim that was told to quit closes its connection when it is gone.
    if let Ok(mut shim) = ShimClient::connect(&folder).await {
        let ended = async {
            let _ = shim.send(&Request::Attach { version: records::VERSION }).await;
            let _ = shim.send(&Request::Kill).await;
            while let Ok(event) = shim.next().await {
                if matches!(event, Event::Exit { .. } | Event::Status { ended: true, .. }) {
                    break;
                }
            }
            let _ = shim.send(&Request::Quit).await;
            while shim.next().await.is_ok() {}
        };
        let _ = timeout(Duration::from_secs(2), ended).await;
    }
    let for_files = inner.clone();
    let _ = blocking(move || {
        teardown::end_now(&for_files.oci.program, &for_files.paths, &folder);
        for_files.remove_container(&id);
        // Only now: the shim may have been writing there until it was ended.
        for folder in unfinished {
            let _ = fs::remove_dir_all(folder);
        }
        Ok(())
    })
    .await;
    let address = slot.address;
    drop(slot);
    if let Some(address) = address {
        inner.network.release(address).await;
    }
}
