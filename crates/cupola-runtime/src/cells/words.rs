//! What the platform says about an instance in its app's log.

use cupola_domain::instances::{ExitCause, ListenDetail, list_of_ports};
use cupola_ports::cells::ExitReport;

/// The end of an instance in words.
pub(super) fn of_end(report: &ExitReport) -> String {
    let killed = if report.killed { " (killed after the grace time)" } else { "" };
    let cause = match &report.cause {
        ExitCause::Exited { code } => format!("exited with code {code}"),
        ExitCause::SidecarEnded { sidecar, code: Some(code), .. } => {
            format!("ended because its sidecar `{sidecar}` exited with code {code}")
        }
        ExitCause::SidecarEnded { sidecar, .. } => {
            format!("ended because its sidecar `{sidecar}` was ended")
        }
        ExitCause::Signaled { signal } => format!("ended by signal {signal}"),
        ExitCause::OutOfMemory { limit_mib } => {
            format!("out of memory: it used more than its {limit_mib} MiB")
        }
        ExitCause::NeverHealthy { .. } => "ended because it did not become healthy".to_owned(),
        ExitCause::Unhealthy { .. } => "ended because it was no longer healthy".to_owned(),
        ExitCause::NotStarted { detail } => format!("could not be started: {detail}"),
        ExitCause::Stopped => "stopped".to_owned(),
        ExitCause::Unknown => "ended; nobody saw how".to_owned(),
    };
    format!("instance {cause}{killed}")
}

pub(super) fn of_listening(detail: &ListenDetail, port: u16) -> String {
    match detail {
        ListenDetail::Nowhere => {
            format!("it listens on no port; it should on {port}, the value of $PORT")
        }
        ListenDetail::OtherPorts { ports, more } => {
            let ports = list_of_ports(ports, *more);
            format!("it listens on port {ports}; it should on {port}, the value of $PORT")
        }
        ListenDetail::LoopbackOnly => {
            format!("it listens on port {port} only on 127.0.0.1; it should on 0.0.0.0")
        }
        ListenDetail::Answered { detail } => detail.clone(),
    }
}

#[cfg(test)]
mod tests {
    use cupola_domain::time::Timestamp;

    use super::*;

    #[test]
    fn an_end_says_its_cause_and_whether_it_had_to_be_killed() {
        let report = |cause, killed| ExitReport {
            cause,
            killed,
            memory_peak_bytes: None,
            started_at: Timestamp::from_micros(0),
            ended_at: Timestamp::from_micros(1),
        };

        assert_eq!(
            of_end(&report(ExitCause::OutOfMemory { limit_mib: 64 }, false)),
            "instance out of memory: it used more than its 64 MiB"
        );
        assert_eq!(
            of_end(&report(ExitCause::Stopped, true)),
            "instance stopped (killed after the grace time)"
        );
    }

    #[test]
    fn what_it_listens_on_comes_with_what_to_do() {
        let text =
            of_listening(&ListenDetail::OtherPorts { ports: vec![3000, 9000], more: 7 }, 8080);

        assert_eq!(
            text,
            "it listens on port 3000, 9000 and 7 more; it should on 8080, the value of $PORT"
        );
    }
}
