//! One request on its way: counts it at its instance, and accounts for it exactly once at the end,
//! however it ends.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use cupola_domain::{ids::AppId, traffic::Ending};

use crate::{
    access_log::{Draft, Outcome},
    client_io::ConnState,
    instance::Instance,
    refusal::Refusal,
    worker::Worker,
};

/// What nginx and gorouter log when the client went away before it was answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

pub(crate) struct Exchange {
    worker: Rc<Worker>,
    pub(crate) draft: Draft,
    started: Instant,
    started_at: SystemTime,
    app_started: Option<Instant>,
    /// When the head of the app's answer was there, and on which connection the rest of it goes.
    answered: Option<(Instant, Arc<ConnState>)>,
    /// Whose line it is if no instance could be chosen.
    app_id: Option<AppId>,
    instance: Option<Arc<Instance>>,
    is_tunnel: bool,
    /// Bytes of the request body. Shared with what reads them.
    pub(crate) received: Rc<Cell<u64>>,
    pub(crate) sent: u64,
    pub(crate) status: u16,
    pub(crate) router_error: Option<String>,
}

impl Exchange {
    pub(crate) fn new(
        worker: Rc<Worker>,
        draft: Draft,
        (started, started_at): (Instant, SystemTime),
        app_id: Option<AppId>,
    ) -> Self {
        Self {
            worker,
            draft,
            started,
            started_at,
            app_started: None,
            answered: None,
            app_id,
            instance: None,
            is_tunnel: false,
            received: Rc::default(),
            sent: 0,
            status: CLIENT_CLOSED_REQUEST,
            router_error: None,
        }
    }

    /// When the request came, in milliseconds since 1970.
    pub(crate) fn started_ms(&self) -> u64 {
        let since = self.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The request goes to `instance` now, and no longer to the one before.
    pub(crate) fn assign(&mut self, instance: &Arc<Instance>) {
        self.leave_instance();
        instance.begin_request();
        self.instance = Some(instance.clone());
        self.app_started.get_or_insert_with(Instant::now);
    }

    /// The request has become a tunnel, which is counted apart.
    pub(crate) fn become_tunnel(&mut self) {
        if let Some(instance) = &self.instance {
            instance.begin_tunnel();
        }
        let instance = self.instance.clone();
        self.leave_instance();
        (self.instance, self.is_tunnel) = (instance, true);
        self.worker.shared.tunnels.fetch_add(1, Relaxed);
    }

    pub(crate) fn instance(&self) -> Option<&Arc<Instance>> {
        self.instance.as_ref()
    }

    /// The app has begun its answer.
    pub(crate) fn begin_answer(&mut self, status: u16, client: &Arc<ConnState>) {
        self.status = status;
        self.answered = Some((Instant::now(), client.clone()));
    }

    /// An answer that broke off is a failure, whatever its status said. None if the request was
    /// wrong: the app has not seen it, and nothing failed.
    fn ending(&self) -> Option<Ending> {
        if self.is_tunnel {
            return Some(Ending::Tunnel);
        }
        match (&self.router_error, &self.answered) {
            (Some(_), None) if self.status < 500 => None,
            (Some(_), _) => Some(Ending::Failed),
            (None, None) => Some(Ending::Abandoned),
            (None, Some((_, client))) if client.is_cut() => Some(Ending::Failed),
            (None, Some((at, _))) => {
                Some(Ending::Answered { status: self.status, latency: *at - self.started })
            }
        }
    }

    /// The router answers by itself.
    pub(crate) fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.status = refusal.status().as_u16();
        self.router_error = Some(refusal.code().into_owned());
        refusal
    }

    fn leave_instance(&mut self) {
        if let Some(instance) = self.instance.take() {
            let became_idle =
                if self.is_tunnel { instance.end_tunnel() } else { instance.end_request() };
            if became_idle {
                self.worker.shared.report_now.notify_one();
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let instance = self.instance.clone();
        if let Some(instance) = &instance {
            instance.count_answer(self.status);
        }
        if let Some(app_id) = instance.as_ref().map(|instance| instance.app_id).or(self.app_id) {
            let now = Instant::now();
            let outcome = Outcome {
                app_id,
                instance: instance.as_deref(),
                status: self.status,
                received: self.received.get(),
                sent: self.sent,
                total: now - self.started,
                app: self.app_started.map_or(Duration::ZERO, |started| now - started),
                router_error: self.router_error.as_deref(),
            };
            if let Some(ending) = self.ending() {
                self.worker.count(app_id, ending);
            }
            // Of the end: who reads on from the newest line must not miss a long request.
            self.worker.log_access(self.started_at + outcome.total, &self.draft, &outcome);
        }
        self.leave_instance();
        if self.is_tunnel {
            self.worker.shared.tunnels.fetch_sub(1, Relaxed);
        }
        self.worker.put_back(std::mem::take(&mut self.draft));
    }
}
