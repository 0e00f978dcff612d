//! Chooses who answers: the rule, the release group by weight, the instance by steering header,
//! sticky cookie or the route's load balancing.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use cupola_domain::{
    ids::{AppId, ProcessId},
    route_table::RequestMatch,
};
use http::HeaderMap;

use crate::{
    balance::Order,
    cookies::{self, Wanted},
    headers::{APP_INSTANCE, PROCESS_INSTANCE},
    instance::Instance,
    limits::Limits,
    refusal::Refusal,
    table::{Group, Route, Rule},
};

/// The app that a request was for, instances or not.
pub(crate) fn app_of(route: &Route, headers: &HeaderMap) -> Option<AppId> {
    let rule = route.rules.iter().find(|rule| is_for(rule, headers))?;
    rule.groups.first().map(|group| group.app_id)
}

const TRIED_MAX: usize = 8;

/// The candidates of one request, and those that failed it.
pub(crate) struct Pick<'a> {
    candidates: Candidates<'a>,
    sticky: Option<&'a Arc<Instance>>,
    pub(crate) wanted: Option<Wanted>,
    tried: [Option<&'a Arc<Instance>>; TRIED_MAX],
    tried_count: usize,
}

enum Candidates<'a> {
    Group(&'a Group, Order),
    /// Chosen by a steering header, with the next to look at.
    Steered(Vec<&'a Arc<Instance>>),
}

impl<'a> Pick<'a> {
    pub(crate) fn new(
        route: &'a Route,
        headers: &HeaderMap,
        raw_host: &str,
        random: u64,
    ) -> Result<Self, Refusal> {
        let no_endpoints = || Refusal::NoEndpoints { host: raw_host.to_owned() };
        let rule =
            route.rules.iter().find(|rule| is_for(rule, headers)).ok_or_else(no_endpoints)?;
        if let Some(mut steered) = steered(rule, headers, raw_host)? {
            let first = random as usize % steered.len();
            steered.rotate_left(first);
            return Ok(Self::of(Candidates::Steered(steered), None, None));
        }
        let wanted = cookies::wanted_instance(headers);
        let sticky = wanted.as_ref().and_then(|wanted| find_sticky(rule, wanted));
        let order = Order::of(&route.load_balancing, headers);
        let group = choose_group(&rule.groups, order.group_number(random));
        let group = group.ok_or_else(no_endpoints)?;
        Ok(Self::of(Candidates::Group(group, order), sticky, wanted))
    }

    fn of(
        candidates: Candidates<'a>,
        sticky: Option<&'a Arc<Instance>>,
        wanted: Option<Wanted>,
    ) -> Self {
        Self { candidates, sticky, wanted, tried: [None; TRIED_MAX], tried_count: 0 }
    }

    /// The next instance that has not been tried. None if all are tried or full.
    pub(crate) fn next(&mut self, now_ms: u64, limits: &Limits) -> Option<&'a Arc<Instance>> {
        if self.tried_count >= TRIED_MAX.min(limits.attempts_max.max(1)) {
            return None;
        }
        let has_room = |instance: &Arc<Instance>| instance.load() < limits.endpoint_in_flight_max;
        let sticky = self.sticky.take().filter(|it| !it.has_failed(now_ms) && has_room(it));
        let chosen = sticky.or_else(|| {
            let open = |it: &&'a Arc<Instance>| has_room(it) && !self.was_tried(it);
            // One that failed lately is better than none.
            self.turn(|it| open(it) && !it.has_failed(now_ms)).or_else(|| self.turn(open))
        })?;
        self.tried[self.tried_count] = Some(chosen);
        self.tried_count += 1;
        Some(chosen)
    }

    /// True if nothing could be chosen although nothing was tried: every instance is full.
    pub(crate) fn is_full(&self) -> bool {
        self.tried_count == 0
    }

    fn was_tried(&self, instance: &Arc<Instance>) -> bool {
        self.tried.iter().flatten().any(|tried| Arc::ptr_eq(tried, instance))
    }

    fn turn(&self, fits: impl Fn(&&'a Arc<Instance>) -> bool) -> Option<&'a Arc<Instance>> {
        match &self.candidates {
            Candidates::Steered(instances) => instances.iter().copied().find(|it| fits(it)),
            Candidates::Group(group, order) => {
                order.choose(&group.endpoints, group.cursor.fetch_add(1, Relaxed), fits)
            }
        }
    }
}

fn is_for(rule: &Rule, headers: &HeaderMap) -> bool {
    match &rule.matches {
        RequestMatch::Any => true,
        RequestMatch::HeaderEquals { name, value } => {
            headers.get_all(name.as_str()).iter().any(|found| found.as_bytes() == value.as_bytes())
        }
    }
}

fn find_sticky<'a>(rule: &'a Rule, wanted: &Wanted) -> Option<&'a Arc<Instance>> {
    let id = wanted.0?;
    rule.groups.iter().flat_map(|group| &group.endpoints).find(|instance| instance.id == id)
}

/// Groups without instances take no part; if none has a weight all count alike.
fn choose_group(groups: &[Group], random: u64) -> Option<&Group> {
    let able = || groups.iter().filter(|group| !group.endpoints.is_empty());
    let total: u64 = able().map(|group| u64::from(group.weight)).sum();
    if total == 0 {
        return able().next();
    }
    let mut left = random % total;
    able().find(|group| {
        let weight = u64::from(group.weight);
        let is_chosen = left < weight;
        left = left.saturating_sub(weight);
        is_chosen
    })
}

/// None without a steering header; an error if it names nothing of this route.
fn steered<'a>(
    rule: &'a Rule,
    headers: &HeaderMap,
    raw_host: &str,
) -> Result<Option<Vec<&'a Arc<Instance>>>, Refusal> {
    let (host, text) = (raw_host.to_owned(), |value: &http::HeaderValue| {
        value.to_str().unwrap_or_default().to_owned()
    });
    let instances = rule.groups.iter().flat_map(|group| &group.endpoints);
    if let Some(value) = headers.get(APP_INSTANCE) {
        let value = text(value);
        let (id, index) = value.split_once(':').ok_or(Refusal::InvalidAppInstance)?;
        let (app, number) = parse::<AppId>(id, index).ok_or(Refusal::InvalidAppInstance)?;
        let found: Vec<_> =
            instances.filter(|it| it.app_id == app && u64::from(it.index) == number).collect();
        let (id, index) = (id.to_owned(), index.to_owned());
        let unknown = Refusal::UnknownAppInstance { host, id, index };
        return if found.is_empty() { Err(unknown) } else { Ok(Some(found)) };
    }
    if let Some(value) = headers.get(PROCESS_INSTANCE) {
        let value = text(value);
        let (id, index) = value.split_once(':').map_or((&*value, None), |(id, i)| (id, Some(i)));
        let (process, number) =
            parse::<ProcessId>(id, index.unwrap_or("0")).ok_or(Refusal::InvalidProcessInstance)?;
        let is_wanted = |it: &&Arc<Instance>| {
            it.process_id == process && (index.is_none() || u64::from(it.index) == number)
        };
        let found: Vec<_> = instances.filter(is_wanted).collect();
        let (id, index) = (id.to_owned(), index.unwrap_or_default().to_owned());
        let unknown = Refusal::UnknownProcessInstance { host, id, index };
        return if found.is_empty() { Err(unknown) } else { Ok(Some(found)) };
    }
    Ok(None)
}

fn parse<Id: std::str::FromStr>(id: &str, index: &str) -> Option<(Id, u64)> {
    let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    let is_guid = id.len() == 36 && !id.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_number && is_guid).then_some(())?;
    // A number beyond every index is well formed and names nothing.
    Some((id.parse().ok()?, index.parse().unwrap_or(u64::MAX)))
}
