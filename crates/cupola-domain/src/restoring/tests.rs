//! What restoring changes, and what it cannot bring back.

use super::*;
use crate::processes::Check;

const THERE: fn(&BindingSetting) -> bool = |_| true;

const BOUNDS: Bounds = Bounds { instances_max: 10, memory_mib_max: 512, disk_mib_max: 512 };

fn process(instances: u32) -> ProcessSetting {
    ProcessSetting {
        instances,
        limits: InstanceLimits { memory_mib: 64, disk_mib: 64, log_rate_bytes_per_s: -1 },
        health_check: HealthCheck::with_defaults(Check::Port),
        readiness_check: HealthCheck::with_defaults(Check::Process),
    }
}

fn route(host: &str) -> RouteSetting {
    RouteSetting {
        route_id: RouteId::random(),
        domain_id: DomainId::from_uuid(uuid::Uuid::nil()),
        domain: "apps.test".to_owned(),
        host: host.to_owned(),
        path: String::new(),
        options: serde_json::Map::new(),
        process_type: "web".to_owned(),
        port: None,
        protocol: "http1".to_owned(),
        weight: None,
        beside: BTreeSet::new(),
    }
}

fn surroundings(instances: u32, routes: &[&str]) -> Surroundings {
    Surroundings {
        processes: BTreeMap::from([("web".to_owned(), process(instances))]),
        routes: routes.iter().map(|host| route(host)).collect(),
        bindings: Vec::new(),
    }
}

fn addresses(routes: &[RouteSetting]) -> Vec<String> {
    routes.iter().map(RouteSetting::address).collect()
}

#[test]
fn nothing_changes_where_nothing_differs() {
    let one = surroundings(2, &["a", "b"]);

    let restoration = plan(&one, &one.clone(), BOUNDS, |_| unreachable!("both are mapped"), THERE);

    assert_eq!(restoration, Restoration::default());
    assert!(restoration.is_empty());
    assert_eq!(restoration.summary(), None);
}

#[test]
fn options_of_a_route_that_another_space_shares_are_lost_and_not_set() {
    let then = surroundings(1, &["a"]);
    let mut now = then.clone();
    now.routes[0].options.insert("loadbalancing".to_owned(), "least-connection".into());
    let in_space = |_: &RouteSetting| Address::InSpace { beside: BTreeSet::new() };
    let shared = |_: &RouteSetting| Address::Shared { beside: BTreeSet::new() };

    let own = plan(&then, &now, BOUNDS, in_space, THERE);
    let theirs = plan(&then, &now, BOUNDS, shared, THERE);

    assert_eq!((own.routes_changed.len(), own.lost.len()), (1, 0));
    assert!(theirs.routes_changed.is_empty());
    assert_eq!(theirs.lost[0].what, "options and weight of the route a.apps.test");
}

#[test]
fn scale_and_routes_go_back_to_what_they_were() {
    let then = surroundings(2, &["a", "both"]);
    let now = surroundings(4, &["both", "new"]);

    let restoration = plan(&then, &now, BOUNDS, |_| Address::Free, THERE);

    assert_eq!(restoration.instances("web"), Some(2));
    assert_eq!(addresses(&restoration.routes_added), ["a.apps.test"]);
    assert_eq!(addresses(&restoration.routes_removed), ["new.apps.test"]);
    assert_eq!(restoration.lost, []);
    assert_eq!(restoration.summary().as_deref(), Some("Restored scale and routes."));
}

#[test]
fn process_that_came_later_is_scaled_to_none_and_one_that_went_comes_back() {
    let mut then = surroundings(1, &[]);
    then.processes.insert("clock".to_owned(), process(1));
    let mut now = surroundings(1, &[]);
    now.processes.insert("worker".to_owned(), process(3));

    let restoration = plan(&then, &now, BOUNDS, |_| Address::Free, THERE);

    assert_eq!(restoration.instances("clock"), Some(1));
    assert_eq!(restoration.instances("worker"), Some(0));
    assert_eq!(restoration.instances("web"), None);
}

#[test]
fn checks_and_limits_are_restored_without_a_word_of_instances() {
    let then = surroundings(1, &[]);
    let mut now = then.clone();
    let web = now.processes.get_mut("web").unwrap();
    web.health_check = HealthCheck::with_defaults(Check::Http { endpoint: "/up".to_owned() });
    web.limits.memory_mib = 128;

    let restoration = plan(&then, &now, BOUNDS, |_| Address::Free, THERE);

    assert_eq!(restoration.processes[0].to, process(1));
    assert_eq!(restoration.instances("web"), None);
}

#[test]
fn address_that_leads_to_another_app_is_left_to_it() {
    let then = surroundings(1, &["a"]);
    let other = AppId::random();

    let taken = |_: &RouteSetting| Address::InSpace { beside: BTreeSet::from([other]) };
    let restoration = plan(&then, &surroundings(1, &[]), BOUNDS, taken, THERE);

    assert_eq!(restoration.routes_added, []);
    assert_eq!(restoration.lost[0].what, "route a.apps.test");
    assert!(restoration.lost[0].why.contains("leads to another app"));
}

#[test]
fn address_that_was_shared_with_another_app_is_shared_again() {
    let other = AppId::random();
    let mut then = surroundings(1, &["a"]);
    then.routes[0].beside.insert(other);

    let shared = |_: &RouteSetting| Address::InSpace { beside: BTreeSet::from([other]) };
    let restoration = plan(&then, &surroundings(1, &[]), BOUNDS, shared, THERE);

    assert_eq!(addresses(&restoration.routes_added), ["a.apps.test"]);
}

#[test]
fn refused_address_and_limits_out_of_bounds_are_told() {
    let mut then = surroundings(20, &["a"]);
    then.processes.get_mut("web").unwrap().limits.memory_mib = 1024;

    let refused = |_: &RouteSetting| Address::Refused("the domain is deleted".to_owned());
    let restoration = plan(&then, &surroundings(1, &[]), BOUNDS, refused, THERE);

    let lost: Vec<_> = restoration.lost.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(lost, ["20 instances of web", "1024 MiB memory of web", "route a.apps.test"]);
    assert_eq!(restoration.instances("web"), Some(10));
    assert_eq!(restoration.processes[0].to.limits.memory_mib, 512);
}

#[test]
fn options_and_weights_of_a_route_are_restored() {
    let then = surroundings(1, &["a"]);
    let mut now = then.clone();
    now.routes[0].weight = Some(10);

    let restoration = plan(&then, &now, BOUNDS, |_| Address::Free, THERE);

    assert_eq!(restoration.routes_changed.len(), 1);
    assert_eq!(restoration.routes_changed[0].to.weight, None);
}

#[test]
fn bindings_come_and_go_and_one_to_a_deleted_instance_is_told() {
    let binding = |instance: &str| BindingSetting {
        instance_id: ServiceInstanceId::random(),
        instance: instance.to_owned(),
        name: None,
    };
    let (db, cache, mail) = (binding("db"), binding("cache"), binding("mail"));
    let mut then = surroundings(1, &[]);
    then.bindings = vec![db.clone(), cache.clone()];
    let mut now = surroundings(1, &[]);
    now.bindings = vec![mail.clone()];

    let restoration =
        plan(&then, &now, BOUNDS, |_| Address::Free, |wanted| wanted.instance != "cache");

    assert_eq!(restoration.bindings_added, [db]);
    assert_eq!(restoration.bindings_removed, [mail]);
    assert_eq!(restoration.lost[0].what, "binding to cache");
    assert_eq!(restoration.summary().as_deref(), Some("Restored bindings."));
}
