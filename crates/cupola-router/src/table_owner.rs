//! Keeps the table that is served: takes snapshots and deltas, builds routes from them, and knows
//! which instances no route leads to any more.
//!
//! Invariant: a table of an older epoch, or an older version of the same epoch, is refused.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicUsize},
};

use cupola_domain::{
    ids::InstanceId,
    route_table::{ReleaseGroup, RouteEntry, RouteKey, RouteRule, RouteTable},
};
use serde::{Deserialize, Serialize};

use crate::{
    instance::Instance,
    table::{Group, Index, Route, Rule},
};

/// What changed between two tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delta {
    pub(crate) epoch: u64,
    pub(crate) from_version: u64,
    pub(crate) version: u64,
    pub(crate) upsert: Vec<(RouteKey, RouteEntry)>,
    pub(crate) remove: Vec<RouteKey>,
}

impl Delta {
    /// What must be done to `old` so that it becomes `new`.
    pub(crate) fn between(old: &RouteTable, new: &RouteTable) -> Self {
        let changed = new.routes.iter().filter(|(key, entry)| old.routes.get(key) != Some(entry));
        let removed = old.routes.keys().filter(|key| !new.routes.contains_key(key));
        Self {
            epoch: new.epoch,
            from_version: old.version,
            version: new.version,
            upsert: changed.map(|(key, entry)| (key.clone(), entry.clone())).collect(),
            remove: removed.cloned().collect(),
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ApplyError {
    #[error("epoch {offered:?} is older than {served:?}, which is served")]
    Stale { served: (u64, u64), offered: (u64, u64) },
    #[error("the change starts at {from:?} but {served:?} is served")]
    Gap { served: Option<(u64, u64)>, from: (u64, u64) },
}

pub(crate) struct TableOwner {
    index: Arc<Index>,
    table: Arc<RouteTable>,
    serving: Option<(u64, u64)>,
    instances: HashMap<InstanceId, Known>,
}

struct Known {
    instance: Arc<Instance>,
    /// Routes that lead to it, counted once per mention.
    mentions: usize,
    retired_at_ms: u64,
}

impl TableOwner {
    pub(crate) fn new(index: Arc<Index>) -> Self {
        Self { index, table: Arc::default(), serving: None, instances: HashMap::new() }
    }

    pub(crate) fn serving(&self) -> Option<(u64, u64)> {
        self.serving
    }

    pub(crate) fn table(&self) -> Arc<RouteTable> {
        self.table.clone()
    }

    pub(crate) fn instance(&self, id: InstanceId) -> Option<&Arc<Instance>> {
        self.instances.get(&id).map(|known| &known.instance)
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values().map(|known| &known.instance)
    }

    pub(crate) fn apply_snapshot(
        &mut self,
        new: &RouteTable,
        now_ms: u64,
    ) -> Result<(), ApplyError> {
        let offered = (new.epoch, new.version);
        match self.serving {
            Some(served) if offered < served => Err(ApplyError::Stale { served, offered }),
            _ => {
                // As a delta, so that unchanged routes keep their place in round robin.
                self.put(Delta::between(&self.table, new), now_ms);
                Ok(())
            }
        }
    }

    pub(crate) fn apply_delta(&mut self, delta: Delta, now_ms: u64) -> Result<(), ApplyError> {
        let (from, offered) = ((delta.epoch, delta.from_version), (delta.epoch, delta.version));
        match self.serving {
            Some(served) if offered < served => Err(ApplyError::Stale { served, offered }),
            Some(served) if served == from => {
                self.put(delta, now_ms);
                Ok(())
            }
            served => Err(ApplyError::Gap { served, from }),
        }
    }

    fn put(&mut self, delta: Delta, now_ms: u64) {
        let Delta { epoch, version, upsert, remove, .. } = delta;
        let mut changes = Vec::with_capacity(upsert.len() + remove.len());
        let mut touched = Vec::new();
        for (key, entry) in &upsert {
            let route = self.build(&key.path, entry);
            touched.extend(instance_ids(entry));
            changes.push((key.clone(), Some(Arc::new(route))));
        }
        changes.extend(remove.iter().map(|key| (key.clone(), None)));
        self.index.apply(changes);

        let table = Arc::make_mut(&mut self.table);
        let mut replaced = Vec::new();
        replaced.extend(upsert.into_iter().filter_map(|(key, new)| table.routes.insert(key, new)));
        replaced.extend(remove.into_iter().filter_map(|key| table.routes.remove(&key)));
        (table.epoch, table.version) = (epoch, version);
        self.serving = Some((epoch, version));
        for entry in &replaced {
            touched.extend(self.release(entry));
        }
        self.retire_unmentioned(touched, now_ms);
    }

    /// Built before the old entry lets go of its instances, so that one that stays is kept.
    fn build(&mut self, path: &str, entry: &RouteEntry) -> Route {
        let rules = entry.rules.iter().map(|rule| self.build_rule(rule)).collect();
        Route { path: path.into(), rules, load_balancing: entry.load_balancing.clone() }
    }

    fn build_rule(&mut self, rule: &RouteRule) -> Rule {
        let mut groups: Vec<_> = rule.groups.iter().map(|group| self.build_group(group)).collect();
        // Every instance knows its own app, so that the first group can stand for all of them.
        if rule.is_pooled
            && let Some((first, others)) = groups.split_first_mut()
        {
            others.iter_mut().for_each(|group| first.endpoints.append(&mut group.endpoints));
            groups.truncate(1);
        }
        Rule { matches: rule.matches.clone(), groups }
    }

    fn build_group(&mut self, group: &ReleaseGroup) -> Group {
        let endpoints = group.endpoints.iter().map(|endpoint| {
            let fresh = || Known {
                instance: Arc::new(Instance::new(group.app_id, endpoint)),
                mentions: 0,
                retired_at_ms: 0,
            };
            let known = self.instances.entry(endpoint.instance_id).or_insert_with(fresh);
            if known.instance.address != endpoint.address {
                known.instance = fresh().instance;
            }
            known.mentions += 1;
            known.instance.clone()
        });
        let endpoints: Vec<_> = endpoints.collect();
        // A new group begins anywhere: beginning at the first would favour it on each change.
        let first = uuid::Uuid::new_v4().as_u64_pair().0 as usize;
        let cursor = AtomicUsize::new(first);
        Group { app_id: group.app_id, weight: group.weight, endpoints, cursor }
    }

    fn retire_unmentioned(&mut self, released: Vec<InstanceId>, now_ms: u64) {
        for id in released {
            if let Some(known) = self.instances.get_mut(&id) {
                let retired = known.mentions == 0;
                known.instance.set_retired(retired);
                known.retired_at_ms = if retired { now_ms } else { 0 };
            }
        }
    }

    /// Forgets instances that have been retired and idle for a while, and returns their ids.
    pub(crate) fn forget_idle(&mut self, now_ms: u64, after_ms: u64) -> Vec<InstanceId> {
        let is_over = |known: &Known| {
            known.mentions == 0
                && known.retired_at_ms + after_ms < now_ms
                && known.instance.load() == 0
        };
        let over: Vec<_> =
            self.instances.iter().filter(|(_, known)| is_over(known)).map(|(id, _)| *id).collect();
        for id in &over {
            self.instances.remove(id);
        }
        over
    }

    fn release(&mut self, entry: &RouteEntry) -> Vec<InstanceId> {
        let ids: Vec<_> = instance_ids(entry).collect();
        for id in &ids {
            if let Some(known) = self.instances.get_mut(id) {
                known.mentions = known.mentions.saturating_sub(1);
            }
        }
        ids
    }
}

fn instance_ids(entry: &RouteEntry) -> impl Iterator<Item = InstanceId> + '_ {
    let groups = entry.rules.iter().flat_map(|rule| &rule.groups);
    groups.flat_map(|group| &group.endpoints).map(|endpoint| endpoint.instance_id)
}
