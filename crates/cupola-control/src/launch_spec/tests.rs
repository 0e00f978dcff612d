//! What instances and builds are started with, as tables.

use std::time::Duration;

use cupola_domain::{
    apps::{AppState, Lifecycle},
    droplets::{DropletContents, DropletState, DropletVersion},
    ids::{DropletId, GenerationId, InstanceId, OrgId, ProcessId, SpaceId},
    instances::InstanceState,
    orgs::Metadata,
    processes::{Check, HealthCheck, InstanceLimits},
    time::Timestamp,
};

use super::*;
use crate::{InstanceSettings, StagingSettings};

#[test]
fn users_command_wins_over_the_one_of_the_droplet() {
    let rows = Rows::new();
    let own = Process { command: Some("./mine".to_owned()), ..rows.process.clone() };
    let empty = Process { command: Some(String::new()), ..rows.process.clone() };

    assert_eq!(command(&own, &rows.droplet), Some("./mine"));
    assert_eq!(command(&rows.process, &rows.droplet), Some("./server"));
    assert_eq!(command(&empty, &rows.droplet), Some("./server"));
}

#[test]
fn process_without_any_command_has_no_instance() {
    let rows = Rows::new();
    let worker = Process { kind: "worker".to_owned(), ..rows.process.clone() };

    assert_eq!(desired_of(&rows, &worker), None);
}

#[test]
fn app_chooses_its_locale_but_not_its_port() {
    let mut rows = Rows::new();
    rows.app.environment.insert("LANG".to_owned(), "de_DE.UTF-8".to_owned());
    rows.app.environment.insert("PORT".to_owned(), "1".to_owned());

    let environment: BTreeMap<_, _> =
        desired_of(&rows, &rows.process).unwrap().environment.into_iter().collect();

    assert_eq!(environment["LANG"], "de_DE.UTF-8");
    assert_eq!(environment["PORT"], "8080");
    assert_eq!(environment["MEMORY_LIMIT"], "64m");
    assert_eq!(environment["CF_INSTANCE_INDEX"], "2");
}

#[test]
fn instance_is_told_where_it_is() {
    let rows = Rows::new();

    let environment: BTreeMap<_, _> =
        desired_of(&rows, &rows.process).unwrap().environment.into_iter().collect();
    let about: Value = serde_json::from_str(&environment["VCAP_APPLICATION"]).unwrap();

    assert_eq!(about["application_name"], "shop");
    assert_eq!(about["uris"], json!(["shop.apps.example"]));
    assert_eq!(about["instance_index"], 2);
    assert_eq!(about["limits"], json!({ "fds": 16384, "mem": 64, "disk": 128 }));
    assert_eq!(environment["VCAP_SERVICES"], "{}");
}

fn desired_of(rows: &Rows, process: &Process) -> Option<DesiredInstance> {
    let addresses = ["shop.apps.example".to_owned()];
    let services = cupola_domain::services::BoundServices::none().materialize().unwrap();
    let place = AppPlace {
        app: &rows.app,
        space: &rows.space,
        org: &rows.org,
        addresses: &addresses,
        services: &services,
    };
    desired_instance(place, process, &rows.droplet, &rows.instance, &settings())
}

fn settings() -> Settings {
    Settings {
        external_url: "https://api.example".to_owned(),
        apps_domain: "apps.example".to_owned(),
        stack: "host".to_owned(),
        hold: Duration::ZERO,
        staging: StagingSettings {
            concurrency: 1,
            queue_max: 1,
            memory_mib: 1024,
            disk_mib: 1024,
            time_max: Duration::from_secs(60),
        },
        instances: InstanceSettings {
            memory_mib_default: 64,
            memory_mib_max: 64,
            disk_mib_default: 128,
            disk_mib_max: 128,
            log_rate_bytes_per_s_default: -1,
            drain: Duration::ZERO,
        },
        host_environment: std::collections::BTreeMap::new(),
        uploads_dir: std::path::PathBuf::new(),
        upload_bytes_max: 1,
        upload_free_bytes_min: 0,
        events_age_max: Duration::from_secs(60),
        access_token_lifetime: Duration::from_secs(60),
    }
}

struct Rows {
    app: App,
    space: Space,
    org: Org,
    process: Process,
    droplet: Droplet,
    instance: Instance,
}

impl Rows {
    fn new() -> Self {
        let at = Timestamp::from_micros(0);
        let metadata = Metadata::default();
        let (created_at, updated_at) = (at, at);
        let (app_id, generation) = (AppId::random(), GenerationId::random());
        let org = Org {
            id: OrgId::random(),
            name: "acme".to_owned(),
            suspended: false,
            metadata: metadata.clone(),
            created_at,
            updated_at,
        };
        let space = Space {
            id: SpaceId::random(),
            org_id: org.id,
            name: "dev".to_owned(),
            metadata: metadata.clone(),
            created_at,
            updated_at,
        };
        let app = App {
            id: app_id,
            space_id: space.id,
            name: "shop".to_owned(),
            desired: AppState::Started,
            lifecycle: Lifecycle { buildpacks: Vec::new(), stack: "host".to_owned() },
            environment: BTreeMap::new(),
            service_delivery: cupola_domain::services::ServiceDelivery::default(),
            current_droplet: None,
            generation,
            release_phase: None,
            revisions_enabled: true,
            names_commit: false,
            pulled: cupola_domain::ladders::Pulled::default(),
            ssh_enabled: true,
            metadata: metadata.clone(),
            created_at,
            updated_at,
        };
        let process = Process {
            id: ProcessId::from_uuid(app_id.uuid()),
            app_id,
            kind: "web".to_owned(),
            command: None,
            instances: 3,
            limits: InstanceLimits { memory_mib: 64, disk_mib: 128, log_rate_bytes_per_s: -1 },
            health_check: HealthCheck::with_defaults(Check::Port),
            readiness_check: HealthCheck::with_defaults(Check::Process),
            generation,
            metadata: metadata.clone(),
            created_at,
            updated_at,
        };
        let droplet = Droplet {
            id: DropletId::random(),
            app_id,
            package_id: None,
            state: DropletState::Staged,
            contents: DropletContents {
                version: DropletVersion::CURRENT,
                layers: Vec::new(),
                process_types: BTreeMap::from([("web".to_owned(), "./server".to_owned())]),
                sidecars: Vec::new(),
                buildpacks: Vec::new(),
                stack: "host".to_owned(),
                stack_digest: String::new(),
            },
            metadata,
            created_at,
            updated_at,
        };
        let instance = Instance {
            id: InstanceId::random(),
            app_id,
            process_id: process.id,
            index: 2,
            generation,
            state: InstanceState::Starting,
            was_ready: false,
            crash_count: 0,
            restart_at: None,
            detail: None,
            created_at,
            updated_at,
        };
        Self { app, space, org, process, droplet, instance }
    }
}
