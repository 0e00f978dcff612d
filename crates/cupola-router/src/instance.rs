//! One instance as the data plane knows it: where it listens, what it is doing, what its headers are.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use cupola_domain::{
    ids::{AppId, InstanceId, ProcessId},
    route_table::Endpoint,
};
use cupola_ports::data_plane::InstanceTraffic;
use http::HeaderValue;
use tokio::sync::watch;

pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) app_id: AppId,
    pub(crate) process_id: ProcessId,
    pub(crate) index: u32,
    pub(crate) address: SocketAddr,
    pub(crate) headers: InstanceHeaders,
    /// The quoted address, and the end of every access line, ready to be copied.
    pub(crate) log_address: String,
    pub(crate) log_tail: String,
    in_flight: AtomicU64,
    tunnels: AtomicU64,
    requests: AtomicU64,
    errors: AtomicU64,
    failed_until_ms: AtomicU64,
    retired: AtomicBool,
    close_tunnels: watch::Sender<bool>,
}

/// What the app is told about itself.
pub(crate) struct InstanceHeaders {
    pub(crate) app_id: HeaderValue,
    pub(crate) instance_id: HeaderValue,
    pub(crate) index: HeaderValue,
}

impl Instance {
    pub(crate) fn new(app_id: AppId, endpoint: &Endpoint) -> Self {
        let (id, index) = (endpoint.instance_id, endpoint.index);
        Self {
            id,
            app_id,
            process_id: endpoint.process_id,
            index,
            address: endpoint.address,
            headers: InstanceHeaders {
                app_id: header_value(app_id),
                instance_id: header_value(id),
                index: HeaderValue::from(index),
            },
            log_address: format!("\"{}\" ", endpoint.address),
            log_tail: format!("app_id:\"{app_id}\" app_index:\"{index}\" instance_id:\"{id}\" "),
            in_flight: AtomicU64::new(0),
            tunnels: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            failed_until_ms: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            close_tunnels: watch::Sender::new(false),
        }
    }

    pub(crate) fn begin_request(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// True if a retired instance became idle by this, which control is waiting for.
    pub(crate) fn end_request(&self) -> bool {
        self.in_flight.fetch_sub(1, Relaxed) == 1 && self.is_retired()
    }

    pub(crate) fn begin_tunnel(&self) {
        self.tunnels.fetch_add(1, Relaxed);
    }

    /// True if a retired instance lost its last tunnel by this.
    pub(crate) fn end_tunnel(&self) -> bool {
        self.tunnels.fetch_sub(1, Relaxed) == 1 && self.is_retired()
    }

    pub(crate) fn count_answer(&self, status: u16) {
        self.requests.fetch_add(1, Relaxed);
        if status >= 500 {
            self.errors.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn load(&self) -> u64 {
        self.in_flight.load(Relaxed) + self.tunnels.load(Relaxed)
    }

    pub(crate) fn has_failed(&self, now_ms: u64) -> bool {
        self.failed_until_ms.load(Relaxed) > now_ms
    }

    /// True if it could be reached the last time, or was never tried.
    pub(crate) fn mark_failed(&self, until_ms: u64) -> bool {
        self.failed_until_ms.swap(until_ms, Relaxed) == 0
    }

    pub(crate) fn mark_reached(&self) {
        if self.failed_until_ms.load(Relaxed) != 0 {
            self.failed_until_ms.store(0, Relaxed);
        }
    }

    /// No route leads to a retired instance; it only finishes what it was given.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    pub(crate) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Relaxed);
    }

    pub(crate) fn close_tunnels(&self) {
        self.close_tunnels.send_replace(true);
    }

    pub(crate) fn tunnels_must_close(&self) -> watch::Receiver<bool> {
        self.close_tunnels.subscribe()
    }

    pub(crate) fn traffic(&self) -> InstanceTraffic {
        InstanceTraffic {
            in_flight: self.in_flight.load(Relaxed),
            tunnels: self.tunnels.load(Relaxed),
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
        }
    }
}

fn header_value(id: impl ToString) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).expect("an id is made of hexadecimal digits and dashes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_news_only_after_a_success() {
        let endpoint = Endpoint {
            instance_id: InstanceId::random(),
            process_id: ProcessId::random(),
            index: 0,
            address: "127.0.0.1:8080".parse().unwrap(),
        };
        let instance = Instance::new(AppId::random(), &endpoint);

        let first = instance.mark_failed(1_000);
        let again = [instance.mark_failed(2_000), instance.mark_failed(90_000)];
        instance.mark_reached();

        assert_eq!((first, again), (true, [false, false]));
        assert!(instance.mark_failed(91_000));
    }
}
