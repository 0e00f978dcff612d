//! Revisions: the numbered releases of an app, which it can be rolled back to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    generations::Release,
    ids::{AppId, RevisionId},
    orgs::Metadata,
    restoring::Surroundings,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub id: RevisionId,
    pub app_id: AppId,
    /// Counts from 1 within the app.
    pub version: u32,
    /// What differs from the revision before.
    pub description: String,
    pub release: Release,
    /// What surrounded it when it was left for another one. None: it runs, never ran, or was left by
    /// a platform that did not keep that.
    #[serde(default)]
    pub as_left: Option<Surroundings>,
    /// What surrounded it before a manifest was applied that may belong to the next revision.
    #[serde(default)]
    pub before_manifest: Option<(Timestamp, Surroundings)>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How `new` differs from the release before it, in the words and the order of upstream
/// (app/actions/revision_resolver.rb). Empty: it needs no revision of its own.
///
/// Limits and health checks are kept with a revision, but do not make one, as in Cloud Foundry.
pub fn differences(old: &Release, new: &Release) -> Vec<String> {
    let mut reasons = Vec::new();
    if old.droplet != new.droplet {
        reasons.push("New droplet deployed.".to_owned());
    }
    if old.environment != new.environment {
        reasons.push("New environment variables deployed.".to_owned());
    }
    if old.sidecars != new.sidecars {
        reasons.push("Sidecars updated.".to_owned());
    }
    let (old, new) = (commands(old), commands(new));
    for (kind, command) in &new {
        reasons.extend(match (old.get(kind), command) {
            (None, _) => Some(format!("New process type '{kind}' added.")),
            (Some(None), Some(_)) => {
                Some(format!("Custom start command added for '{kind}' process."))
            }
            (Some(Some(_)), None) => {
                Some(format!("Custom start command removed for '{kind}' process."))
            }
            (Some(Some(old)), Some(new)) if old != new => {
                Some(format!("Custom start command updated for '{kind}' process."))
            }
            (Some(_), _) => None,
        });
    }
    let removed = old.keys().filter(|kind| !new.contains_key(*kind));
    reasons.extend(removed.map(|kind| format!("Process type '{kind}' removed.")));
    reasons.sort();
    reasons
}

/// The users' own commands by process type.
pub fn commands(release: &Release) -> BTreeMap<&str, Option<&str>> {
    let processes = release.processes.iter();
    processes.map(|(kind, process)| (kind.as_str(), process.command.as_deref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        generations::ReleasedProcess,
        ids::DropletId,
        processes::{Check, HealthCheck, InstanceLimits},
        sidecars::{SidecarOrigin, SidecarSpec},
    };

    fn released(command: Option<&str>) -> ReleasedProcess {
        ReleasedProcess {
            command: command.map(str::to_owned),
            limits: InstanceLimits { memory_mib: 64, disk_mib: 64, log_rate_bytes_per_s: -1 },
            health_check: HealthCheck::with_defaults(Check::Port),
            readiness_check: HealthCheck::with_defaults(Check::Process),
        }
    }

    fn release<const N: usize>(processes: [(&str, Option<&str>); N]) -> Release {
        Release {
            droplet: DropletId::from_uuid(uuid::Uuid::nil()),
            environment: BTreeMap::new(),
            processes: processes
                .map(|(kind, command)| (kind.to_owned(), released(command)))
                .into_iter()
                .collect(),
            sidecars: Vec::new(),
        }
    }

    #[test]
    fn equal_releases_need_no_new_revision() {
        let one = release([("web", Some("./serve"))]);
        let mut other = one.clone();
        other.processes.get_mut("web").unwrap().limits.memory_mib = 128;

        assert_eq!(differences(&one, &other), Vec::<String>::new());
    }

    #[test]
    fn every_difference_is_named_in_upstreams_words() {
        let old =
            release([("web", None), ("worker", Some("a")), ("clock", Some("b")), ("old", None)]);
        let mut new =
            release([("web", Some("c")), ("worker", None), ("clock", Some("d")), ("new", None)]);
        new.droplet = DropletId::random();
        new.environment.insert("A".to_owned(), "1".to_owned());
        new.sidecars.push(SidecarSpec {
            name: "tail".to_owned(),
            command: "tail -f".to_owned(),
            process_types: vec!["web".to_owned()],
            memory_mib: None,
            origin: SidecarOrigin::User,
        });

        let told = differences(&old, &new);

        assert_eq!(
            told,
            [
                "Custom start command added for 'web' process.",
                "Custom start command removed for 'worker' process.",
                "Custom start command updated for 'clock' process.",
                "New droplet deployed.",
                "New environment variables deployed.",
                "New process type 'new' added.",
                "Process type 'old' removed.",
                "Sidecars updated.",
            ]
        );
    }
}
