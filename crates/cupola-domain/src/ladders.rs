//! The ladders of an app: capabilities that are pulled one rung at a time when they are wanted.
//!
//! Invariant: what is pulled can be put back, and then everything is as it was. What somebody has
//! set to something else meanwhile is theirs: it is said, and left.

use serde::{Deserialize, Serialize};

use crate::{
    apps::App,
    droplets::Runtime,
    processes::{Check, HealthCheck, Process},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ladder {
    Availability,
    Security,
    Capacity,
    Customisation,
}

impl Ladder {
    pub const ALL: [Self; 4] =
        [Self::Availability, Self::Security, Self::Capacity, Self::Customisation];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Security => "security",
            Self::Capacity => "capacity",
            Self::Customisation => "customisation",
        }
    }
}

/// What can be pulled, in the order of their ladders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    SecondInstance,
    HealthCheck,
    RollingByDefault,
    PinnedRuntime,
}

impl Rung {
    pub const ALL: [Self; 4] =
        [Self::SecondInstance, Self::HealthCheck, Self::RollingByDefault, Self::PinnedRuntime];

    pub const fn name(self) -> &'static str {
        match self {
            Self::SecondInstance => "second-instance",
            Self::HealthCheck => "health-check",
            Self::RollingByDefault => "rolling-by-default",
            Self::PinnedRuntime => "pinned-runtime",
        }
    }

    pub const fn ladder(self) -> Ladder {
        match self {
            Self::SecondInstance | Self::HealthCheck | Self::RollingByDefault => {
                Ladder::Availability
            }
            Self::PinnedRuntime => Ladder::Customisation,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.name() == name)
    }

    /// What it gives, in words.
    pub const fn gives(self) -> &'static str {
        match self {
            Self::SecondInstance => "one instance may crash, and the other answers",
            Self::HealthCheck => "an instance that runs and does not answer is replaced",
            Self::RollingByDefault => {
                "`cupola push` and `cupola restart` replace instances one by one, without a failed \
                 request"
            }
            Self::PinnedRuntime => "later builds take the language version that runs now",
        }
    }
}

/// What was set before a rung was pulled, and to what it was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<T> {
    pub before: T,
    pub set: T,
}

/// The rungs that an app has pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pulled {
    pub instances: Option<Kept<u32>>,
    pub health_check: Option<Kept<HealthCheck>>,
    pub rolling_by_default: bool,
    pub pinned_runtime: Option<Runtime>,
}

/// An app as its ladders see it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    pub app: &'a App,
    pub web: &'a Process,
    /// What its current droplet runs on, if its buildpack has said so.
    pub runtime: Option<&'a Runtime>,
}

/// What has to be set when a rung is pulled or put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Instances(u32),
    HealthCheck(HealthCheck),
    /// Nothing beyond what the app keeps of it.
    None,
}

impl Sight<'_> {
    /// Whether the app has what the rung gives, pulled or set by hand.
    pub fn has(&self, rung: Rung) -> bool {
        match rung {
            Rung::SecondInstance => self.web.instances >= 2,
            Rung::HealthCheck => matches!(self.web.health_check.check, Check::Http { .. }),
            Rung::RollingByDefault => self.app.pulled.rolling_by_default,
            Rung::PinnedRuntime => self.app.pulled.pinned_runtime.is_some(),
        }
    }

    /// Whether it was pulled, so that it can be put back.
    pub fn is_pulled(&self, rung: Rung) -> bool {
        let pulled = &self.app.pulled;
        match rung {
            Rung::SecondInstance => pulled.instances.is_some(),
            Rung::HealthCheck => pulled.health_check.is_some(),
            Rung::RollingByDefault => pulled.rolling_by_default,
            Rung::PinnedRuntime => pulled.pinned_runtime.is_some(),
        }
    }

    /// What it costs, in words.
    pub fn costs(&self, rung: Rung) -> String {
        let memory = self.web.limits.memory_mib;
        match rung {
            Rung::SecondInstance => format!("up to {memory} MiB memory more"),
            Rung::HealthCheck => {
                let interval_s = self.web.health_check.interval_s.unwrap_or(30);
                format!("one request every {interval_s} s to each instance, and one restart")
            }
            Rung::RollingByDefault => {
                format!(
                    "up to {memory} MiB memory more, and a start after the other, while it lasts"
                )
            }
            Rung::PinnedRuntime => {
                "no newer versions, with their fixes, until it is put back".to_owned()
            }
        }
    }

    /// Why the rung cannot be pulled now.
    pub fn obstacle(&self, rung: Rung) -> Option<String> {
        if self.has(rung) {
            return Some("the app has it already".to_owned());
        }
        if rung == Rung::PinnedRuntime && self.runtime.is_none() {
            return Some(
                "no version is known: push once with a built-in buildpack of a language".to_owned(),
            );
        }
        None
    }

    /// Pulls a rung: what the app keeps of it from then on, and what is set. `endpoint` is for the
    /// health check.
    pub fn pull(&self, rung: Rung, endpoint: &str) -> Result<(Pulled, Change), String> {
        if let Some(obstacle) = self.obstacle(rung) {
            return Err(obstacle);
        }
        let mut pulled = self.app.pulled.clone();
        let change = match rung {
            Rung::SecondInstance => {
                pulled.instances = Some(Kept { before: self.web.instances, set: 2 });
                Change::Instances(2)
            }
            Rung::HealthCheck => {
                let before = self.web.health_check.clone();
                let check = Check::Http { endpoint: endpoint.to_owned() };
                let set = HealthCheck { check, ..before.clone() };
                pulled.health_check = Some(Kept { before, set: set.clone() });
                Change::HealthCheck(set)
            }
            Rung::RollingByDefault => {
                pulled.rolling_by_default = true;
                Change::None
            }
            Rung::PinnedRuntime => {
                pulled.pinned_runtime = self.runtime.cloned();
                Change::None
            }
        };
        Ok((pulled, change))
    }

    /// Puts a rung back. What was changed since it was pulled stays as it is, and the error says so.
    pub fn put_back(&self, rung: Rung) -> Result<(Pulled, Change), String> {
        let mut pulled = self.app.pulled.clone();
        let not_pulled = || "it was not pulled, so that there is nothing to put back".to_owned();
        let change = match rung {
            Rung::SecondInstance => {
                let kept = pulled.instances.take().ok_or_else(not_pulled)?;
                if self.web.instances != kept.set {
                    return Err(changed_since(
                        &format!("{} instances are set", self.web.instances),
                        &format!("`scale` to {}", kept.set),
                    ));
                }
                Change::Instances(kept.before)
            }
            Rung::HealthCheck => {
                let kept = pulled.health_check.take().ok_or_else(not_pulled)?;
                if self.web.health_check != kept.set {
                    return Err(changed_since("another health check is set", "set it as pulled"));
                }
                Change::HealthCheck(kept.before)
            }
            Rung::RollingByDefault => {
                if !std::mem::take(&mut pulled.rolling_by_default) {
                    return Err(not_pulled());
                }
                Change::None
            }
            Rung::PinnedRuntime => {
                pulled.pinned_runtime.take().ok_or_else(not_pulled)?;
                Change::None
            }
        };
        Ok((pulled, change))
    }
}

fn changed_since(what: &str, way_out: &str) -> String {
    format!(
        "it was changed since it was pulled ({what}), and that is left alone; {way_out} first to \
         put it back"
    )
}

#[cfg(test)]
mod tests;
