//! Pulling, putting back, and what somebody else changed in between.

use super::*;
use crate::{
    apps::{AppState, Lifecycle},
    ids::{AppId, GenerationId, ProcessId, SpaceId},
    orgs::Metadata,
    processes::{InstanceLimits, WEB},
    services::ServiceDelivery,
    time::Timestamp,
};

const T0: Timestamp = Timestamp::from_micros(0);

fn app() -> App {
    App {
        id: AppId::random(),
        space_id: SpaceId::random(),
        name: "shop".to_owned(),
        desired: AppState::Started,
        lifecycle: Lifecycle { buildpacks: Vec::new(), stack: "host".to_owned() },
        environment: std::collections::BTreeMap::new(),
        current_droplet: None,
        generation: GenerationId::random(),
        release_phase: None,
        revisions_enabled: true,
        ssh_enabled: true,
        names_commit: false,
        service_delivery: ServiceDelivery::Variable,
        pulled: Pulled::default(),
        metadata: Metadata::default(),
        created_at: T0,
        updated_at: T0,
    }
}

fn web(app: &App) -> Process {
    Process {
        id: ProcessId::from_uuid(app.id.uuid()),
        app_id: app.id,
        kind: WEB.to_owned(),
        command: None,
        instances: 1,
        limits: InstanceLimits { memory_mib: 64, disk_mib: 64, log_rate_bytes_per_s: -1 },
        health_check: HealthCheck {
            invocation_timeout_s: Some(7),
            ..HealthCheck::with_defaults(Check::Port)
        },
        readiness_check: HealthCheck::with_defaults(Check::Process),
        generation: app.generation,
        metadata: Metadata::default(),
        created_at: T0,
        updated_at: T0,
    }
}

fn node() -> Runtime {
    Runtime {
        name: "node".to_owned(),
        version: "22.1.0".to_owned(),
        pin: "BP_NODE_VERSION".to_owned(),
    }
}

fn set(web: &mut Process, change: Change) {
    match change {
        Change::Instances(instances) => web.instances = instances,
        Change::HealthCheck(check) => web.health_check = check,
        Change::None => {}
    }
}

#[test]
fn every_rung_leaves_app_and_process_as_they_were_when_it_is_put_back() {
    let (mut app, runtime) = (app(), node());
    let mut web = web(&app);
    let before = (app.clone(), web.clone());

    for rung in Rung::ALL {
        let sight = Sight { app: &app, web: &web, runtime: Some(&runtime) };
        assert!(!sight.has(rung) && !sight.is_pulled(rung), "{}", rung.name());
        let (pulled, change) = sight.pull(rung, "/up").unwrap();
        app.pulled = pulled;
        set(&mut web, change);

        let sight = Sight { app: &app, web: &web, runtime: Some(&runtime) };
        assert!(sight.has(rung) && sight.is_pulled(rung), "{}", rung.name());
        assert_eq!(sight.pull(rung, "/up"), Err("the app has it already".to_owned()));
        let (pulled, change) = sight.put_back(rung).unwrap();
        app.pulled = pulled;
        set(&mut web, change);
        assert_eq!((&app, &web), (&before.0, &before.1), "{}", rung.name());
    }
}

#[test]
fn what_was_changed_since_is_left_alone() {
    let mut app = app();
    let mut web = web(&app);
    let sight = Sight { app: &app, web: &web, runtime: None };
    let (pulled, change) = sight.pull(Rung::SecondInstance, "/").unwrap();
    app.pulled = pulled;
    set(&mut web, change);
    web.instances = 5;

    let refused = Sight { app: &app, web: &web, runtime: None }.put_back(Rung::SecondInstance);

    assert!(refused.unwrap_err().contains("5 instances are set"));
}

#[test]
fn what_was_set_by_hand_is_there_and_not_put_back() {
    let app = app();
    let web = Process { instances: 3, ..web(&app) };
    let sight = Sight { app: &app, web: &web, runtime: None };

    assert!(sight.has(Rung::SecondInstance));
    assert!(sight.put_back(Rung::SecondInstance).unwrap_err().contains("it was not pulled"));
}

#[test]
fn version_is_pinned_only_where_it_is_known() {
    let app = app();
    let web = web(&app);
    let sight = Sight { app: &app, web: &web, runtime: None };

    assert!(sight.pull(Rung::PinnedRuntime, "/").unwrap_err().contains("no version is known"));
}

#[test]
fn health_check_keeps_its_times() {
    let app = app();
    let web = web(&app);

    let pulled = Sight { app: &app, web: &web, runtime: None }.pull(Rung::HealthCheck, "/up");

    let expected = Check::Http { endpoint: "/up".to_owned() };
    let set = HealthCheck { check: expected, ..web.health_check.clone() };
    assert_eq!(pulled.unwrap().1, Change::HealthCheck(set));
}
