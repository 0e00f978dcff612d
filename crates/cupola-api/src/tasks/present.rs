//! How a task is written.

use cupola_domain::tasks::{Task, TaskState};
use cupola_wire::{
    list::ToOne,
    tasks::{self, TaskRelationships, TaskResult},
};

use crate::{Api, metadata};

pub(super) fn task(api: &Api, task: &Task, shows_command: bool) -> tasks::Task {
    let own = format!("/v3/tasks/{}", task.id);
    let failure_reason = match &task.state {
        TaskState::Failed { reason } => Some(reason.clone()),
        _ => None,
    };
    tasks::Task {
        guid: task.id.to_string(),
        sequence_id: task.sequence,
        name: task.name.clone(),
        command: shows_command.then(|| task.command.clone()),
        state: task.state.name().to_owned(),
        memory_in_mb: task.limits.memory_mib,
        disk_in_mb: task.limits.disk_mib,
        log_rate_limit_in_bytes_per_second: task.limits.log_rate_bytes_per_s,
        result: TaskResult { failure_reason },
        droplet_guid: task.droplet.to_string(),
        relationships: TaskRelationships { app: ToOne::to(task.app_id) },
        metadata: metadata::present(&task.metadata),
        created_at: task.created_at.rfc3339(),
        updated_at: task.updated_at.rfc3339(),
        links: api.links([
            ("self", own.clone()),
            ("app", format!("/v3/apps/{}", task.app_id)),
            ("cancel", format!("{own}/actions/cancel")),
            ("droplet", format!("/v3/droplets/{}", task.droplet)),
        ]),
    }
}
