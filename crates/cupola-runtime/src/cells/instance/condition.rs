//! How an instance is, from its first health check on, and what others are told of it.

use cupola_domain::{instances::ExitCause, processes::Check};
use cupola_ports::{cells::Phase, logs::LogStream};

use super::InstanceTask;
use crate::cells::{
    health::{self, Subject},
    words,
};

/// Written when an instance was healthy for the first time, so that its adoption keeps its route.
pub(super) const HEALTHY: &str = "healthy";

impl InstanceTask {
    pub(super) async fn watch_health(&self, subject: Subject) -> ExitCause {
        let (liveness, readiness) = (&self.desired.health_check, &self.desired.readiness_check);
        let was_healthy = self.folder.join(HEALTHY).exists();
        if !was_healthy {
            let began = self.shared.clock.monotonic();
            if let Err(cause) = health::first_success(liveness, subject).await {
                return cause;
            }
            let took = self.shared.clock.monotonic().saturating_sub(began).as_secs_f64();
            let _ = std::fs::write(self.folder.join(HEALTHY), "");
            self.tell_cell(LogStream::Out, format!("container is healthy after {took:.2} s"));
            let ready = readiness.check == Check::Process;
            self.set_phase(Phase::Running { ready, failing: None });
        }
        tokio::select! {
            cause = health::until_unhealthy(liveness, subject, |failing| self.set_failing(failing)) => cause,
            cause = health::follow_readiness(readiness, subject, |result| self.set_ready(result)) => cause,
        }
    }

    fn set_failing(&self, now: Option<String>) {
        if let Some(detail) = &now {
            let text = format!("health check failed: {detail}");
            self.shared.tell(&self.desired, "HEALTH", LogStream::Err, text);
        }
        self.change_running(|_, failing| *failing = now);
    }

    fn set_ready(&self, result: Result<(), String>) {
        if let Err(detail) = &result {
            let text = format!("readiness check failed: {detail}");
            self.shared.tell(&self.desired, "HEALTH", LogStream::Err, text);
        }
        self.change_running(|ready, failing| {
            *ready = result.is_ok();
            *failing = result.err();
        });
    }

    fn change_running(&self, change: impl FnOnce(&mut bool, &mut Option<String>)) {
        self.shared.change(|state| {
            let actual = state.instances.get_mut(&self.desired.id);
            if let Some(Phase::Running { ready, failing }) = actual.map(|actual| &mut actual.phase)
            {
                change(ready, failing);
            }
        });
    }

    pub(super) fn tell_unhealthy(&self, cause: &ExitCause) {
        let text = match cause {
            ExitCause::NeverHealthy { timeout_s, detail } => {
                format!(
                    "not healthy within {timeout_s} s: {}",
                    words::of_listening(detail, self.desired.port)
                )
            }
            ExitCause::Unhealthy { detail } => format!("no longer healthy: {detail}"),
            _ => return,
        };
        self.shared.tell(&self.desired, "HEALTH", LogStream::Err, text);
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.shared.change(|state| {
            if let Some(actual) = state.instances.get_mut(&self.desired.id) {
                actual.phase = phase;
            }
        });
    }
}
