//! What the installation takes: memory, disk, rows. None of it may grow with every deployment.

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use crate::bench::{platform::Platform, procfs};

#[derive(Clone, Debug)]
pub(super) struct Usage {
    control_mib: f64,
    router_mib: f64,
    /// The database of control with its log, and the app logs.
    database_mib: f64,
    logs_mib: f64,
    /// Everything below the data directory, as it is on the disk.
    data_mib: f64,
    layers: usize,
    /// Of what each deployment adds one to, as the API tells.
    deployments: u64,
    revisions: u64,
    events: u64,
}

impl Usage {
    pub(super) fn read(platform: &mut Platform, app: &str) -> anyhow::Result<Self> {
        let data = platform.folder.join("data");
        let layers = data.join("layers/sha256");
        let mut total = |path: String| -> anyhow::Result<u64> {
            let list = platform.get(&path)?;
            list["pagination"]["total_results"]
                .as_u64()
                .with_context(|| format!("{path} has no total"))
        };
        let deployments = total(format!("/v3/deployments?app_guids={app}&per_page=1"))?;
        let revisions = total(format!("/v3/apps/{app}/revisions?per_page=1"))?;
        let events = total("/v3/audit_events?per_page=1".to_owned())?;
        Ok(Self {
            control_mib: procfs::pss_mib(platform.control_pid())?,
            router_mib: procfs::pss_mib(platform.router_pid()?)?,
            database_mib: files_mib(&data, "cupola.db"),
            logs_mib: files_mib(&data, "logs.db"),
            data_mib: tree_mib(&data),
            layers: fs::read_dir(layers).map_or(0, Iterator::count),
            deployments,
            revisions,
            events,
        })
    }

    pub(super) fn text(&self) -> String {
        format!(
            "control {:.1} MiB, router {:.1} MiB PSS; database {:.1} MiB, logs {:.1} MiB, all data {:.0} MiB, \
             {} layers; {} deployments, {} revisions, {} events",
            self.control_mib,
            self.router_mib,
            self.database_mib,
            self.logs_mib,
            self.data_mib,
            self.layers,
            self.deployments,
            self.revisions,
            self.events
        )
    }

    pub(super) fn cells(&self) -> [(&'static str, String); 8] {
        [
            ("control, PSS", format!("{:.1} MiB", self.control_mib)),
            ("router, PSS", format!("{:.1} MiB", self.router_mib)),
            ("database", format!("{:.1} MiB", self.database_mib)),
            ("app logs", format!("{:.1} MiB", self.logs_mib)),
            ("data directory", format!("{:.0} MiB", self.data_mib)),
            ("layers", self.layers.to_string()),
            (
                "deployments and revisions kept",
                format!("{} and {}", self.deployments, self.revisions),
            ),
            ("audit events, kept for 31 days", self.events.to_string()),
        ]
    }

    pub(super) fn to_json(&self) -> Value {
        json!([
            self.control_mib,
            self.router_mib,
            self.database_mib,
            self.logs_mib,
            self.data_mib,
            self.layers,
            self.deployments,
            self.revisions,
            self.events
        ])
    }

    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let float = |at: usize| value[at].as_f64();
        let whole = |at: usize| value[at].as_u64();
        Some(Self {
            control_mib: float(0)?,
            router_mib: float(1)?,
            database_mib: float(2)?,
            logs_mib: float(3)?,
            data_mib: float(4)?,
            layers: usize::try_from(whole(5)?).ok()?,
            deployments: whole(6)?,
            revisions: whole(7)?,
            events: whole(8)?,
        })
    }
}

const MIB: f64 = (1 << 20) as f64;

/// The files of a folder whose names begin so.
fn files_mib(folder: &Path, name: &str) -> f64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    ours.flat_map(|entry| entry.metadata()).map(|file| file.len() as f64).sum::<f64>() / MIB
}

/// Blocks, so that the sparse disks of instances count as what they hold.
fn tree_mib(folder: &Path) -> f64 {
    let text = crate::run::output("du", &["-sxk", &folder.to_string_lossy()]).unwrap_or_default();
    let kib = text.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
