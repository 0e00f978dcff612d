//! The operations on apps and what belongs to them.

use std::collections::BTreeMap;

use cupola_domain::{
    apps::Lifecycle,
    builds::{Build, BuildState},
    droplets::{Droplet, DropletContents, DropletState, DropletVersion, LayerDigest},
    ids::{BuildId, DropletId},
    orgs::Metadata,
    time::Timestamp,
};
use cupola_ports::store::{self, Store};
use cupola_testkit::TestPlatform;
use serde_json::{Value, json};

use super::{EmptyList, Forbidden, Gets, Invalid, Missing, Ok, Unsupported};

pub(super) const OPERATIONS: &[(&str, &str, Gets, Gets)] = &[
    ("GET", "/v3/apps", EmptyList, Ok),
    ("POST", "/v3/apps", Invalid, Forbidden),
    ("GET", "/v3/apps/{guid}", Missing, Ok),
    ("PATCH", "/v3/apps/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/apps/{guid}", Missing, Forbidden),
    ("POST", "/v3/apps/{guid}/actions/start", Missing, Forbidden),
    ("POST", "/v3/apps/{guid}/actions/stop", Missing, Forbidden),
    ("POST", "/v3/apps/{guid}/actions/restart", Missing, Forbidden),
    ("POST", "/v3/apps/{guid}/actions/clear_buildpack_cache", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/builds", Missing, Ok),
    ("GET", "/v3/apps/{guid}/droplets", Missing, Ok),
    ("GET", "/v3/apps/{guid}/droplets/current", Missing, Ok),
    ("GET", "/v3/apps/{guid}/env", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/environment_variables", Missing, Forbidden),
    ("PATCH", "/v3/apps/{guid}/environment_variables", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/features", Missing, Ok),
    ("GET", "/v3/apps/{guid}/features/{name}", Missing, Ok),
    ("PATCH", "/v3/apps/{guid}/features/{name}", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/manifest", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/packages", Missing, Ok),
    ("GET", "/v3/apps/{guid}/permissions", Missing, Ok),
    ("GET", "/v3/apps/{guid}/processes", Missing, Ok),
    ("GET", "/v3/apps/{guid}/processes/{type}", Missing, Ok),
    ("PATCH", "/v3/apps/{guid}/processes/{type}", Missing, Forbidden),
    ("POST", "/v3/apps/{guid}/processes/{type}/actions/scale", Missing, Forbidden),
    ("DELETE", "/v3/apps/{guid}/processes/{type}/instances/{index}", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/processes/{type}/stats", Missing, Ok),
    ("GET", "/v3/apps/{guid}/relationships/current_droplet", Missing, Ok),
    ("PATCH", "/v3/apps/{guid}/relationships/current_droplet", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/revisions", Missing, Ok),
    ("GET", "/v3/apps/{guid}/revisions/deployed", Missing, EmptyList),
    ("GET", "/v3/apps/{guid}/routes", Missing, Ok),
    ("GET", "/v3/apps/{guid}/sidecars", Missing, Ok),
    ("POST", "/v3/apps/{guid}/sidecars", Missing, Forbidden),
    ("GET", "/v3/apps/{guid}/ssh_enabled", Missing, Ok),
    ("GET", "/v3/apps/{guid}/tasks", Missing, Ok),
    ("POST", "/v3/apps/{guid}/tasks", Missing, Forbidden),
    ("GET", "/v3/processes", EmptyList, Ok),
    ("GET", "/v3/processes/{guid}", Missing, Ok),
    ("PATCH", "/v3/processes/{guid}", Missing, Forbidden),
    ("POST", "/v3/processes/{guid}/actions/scale", Missing, Forbidden),
    ("DELETE", "/v3/processes/{guid}/instances/{index}", Missing, Forbidden),
    ("GET", "/v3/processes/{guid}/process_instances", Missing, Ok),
    ("GET", "/v3/processes/{guid}/sidecars", Missing, Ok),
    ("GET", "/v3/processes/{guid}/stats", Missing, Ok),
    ("GET", "/v3/packages", EmptyList, Ok),
    ("POST", "/v3/packages", Invalid, Forbidden),
    ("GET", "/v3/packages/{guid}", Missing, Ok),
    ("PATCH", "/v3/packages/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/packages/{guid}", Missing, Forbidden),
    ("POST", "/v3/packages/{guid}/upload", Missing, Forbidden),
    ("GET", "/v3/packages/{guid}/droplets", Missing, Ok),
    ("GET", "/v3/builds", EmptyList, Ok),
    ("POST", "/v3/builds", Invalid, Forbidden),
    ("GET", "/v3/builds/{guid}", Missing, Ok),
    ("PATCH", "/v3/builds/{guid}", Missing, Forbidden),
    ("GET", "/v3/droplets", EmptyList, Ok),
    ("POST", "/v3/droplets", Invalid, Forbidden),
    ("GET", "/v3/droplets/{guid}", Missing, Ok),
    ("PATCH", "/v3/droplets/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/droplets/{guid}", Missing, Forbidden),
    ("GET", "/v3/droplets/{guid}/download", Missing, Forbidden),
    ("POST", "/v3/droplets/{guid}/upload", Missing, Forbidden),
    ("GET", "/v3/deployments", EmptyList, Ok),
    ("POST", "/v3/deployments", Invalid, Invalid),
    ("GET", "/v3/deployments/{guid}", Missing, Ok),
    ("PATCH", "/v3/deployments/{guid}", Missing, Forbidden),
    ("POST", "/v3/deployments/{guid}/actions/cancel", Missing, Forbidden),
    ("POST", "/v3/deployments/{guid}/actions/continue", Missing, Forbidden),
    ("GET", "/v3/tasks", EmptyList, Ok),
    ("GET", "/v3/tasks/{guid}", Missing, Ok),
    ("PATCH", "/v3/tasks/{guid}", Missing, Forbidden),
    ("POST", "/v3/tasks/{guid}/actions/cancel", Missing, Forbidden),
    ("PUT", "/v3/tasks/{guid}/actions/cancel", Missing, Forbidden),
    ("PUT", "/v3/tasks/{guid}/cancel", Missing, Forbidden),
    ("GET", "/v3/sidecars/{guid}", Missing, Ok),
    ("PATCH", "/v3/sidecars/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/sidecars/{guid}", Missing, Forbidden),
    ("GET", "/v3/revisions/{guid}", Missing, Ok),
    ("PATCH", "/v3/revisions/{guid}", Missing, Forbidden),
    ("GET", "/v3/revisions/{guid}/environment_variables", Missing, Forbidden),
    // The domain of the fixture is shared, so that everybody sees it.
    ("GET", "/v3/domains", Ok, Ok),
    ("POST", "/v3/domains", Forbidden, Forbidden),
    ("GET", "/v3/domains/{guid}", Ok, Ok),
    ("PATCH", "/v3/domains/{guid}", Forbidden, Forbidden),
    ("DELETE", "/v3/domains/{guid}", Forbidden, Forbidden),
    ("POST", "/v3/domains/{guid}/relationships/shared_organizations", Forbidden, Forbidden),
    (
        "DELETE",
        "/v3/domains/{guid}/relationships/shared_organizations/{org_guid}",
        Forbidden,
        Forbidden,
    ),
    ("GET", "/v3/domains/{guid}/route_reservations", Ok, Ok),
    ("GET", "/v3/organizations/{guid}/domains", Missing, Ok),
    ("GET", "/v3/organizations/{guid}/domains/default", Missing, Ok),
    ("GET", "/v3/routes", EmptyList, Ok),
    ("POST", "/v3/routes", Invalid, Forbidden),
    ("GET", "/v3/routes/{guid}", Missing, Ok),
    ("PATCH", "/v3/routes/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/routes/{guid}", Missing, Forbidden),
    ("GET", "/v3/routes/{guid}/destinations", Missing, Ok),
    ("POST", "/v3/routes/{guid}/destinations", Missing, Forbidden),
    ("PATCH", "/v3/routes/{guid}/destinations", Missing, Forbidden),
    ("PATCH", "/v3/routes/{guid}/destinations/{destination_guid}", Missing, Forbidden),
    ("DELETE", "/v3/routes/{guid}/destinations/{destination_guid}", Missing, Forbidden),
    ("GET", "/v3/routes/{guid}/relationships/shared_spaces", Missing, Ok),
    ("GET", "/v3/service_instances", EmptyList, Ok),
    ("POST", "/v3/service_instances", Invalid, Forbidden),
    ("GET", "/v3/service_instances/{guid}", Missing, Ok),
    ("PATCH", "/v3/service_instances/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/service_instances/{guid}", Missing, Forbidden),
    ("GET", "/v3/service_instances/{guid}/credentials", Missing, Forbidden),
    ("GET", "/v3/service_instances/{guid}/parameters", Missing, Unsupported),
    ("GET", "/v3/service_instances/{guid}/relationships/shared_spaces", Missing, Ok),
    // Only administrators share while the feature flag is off.
    ("POST", "/v3/service_instances/{guid}/relationships/shared_spaces", Forbidden, Forbidden),
    (
        "DELETE",
        "/v3/service_instances/{guid}/relationships/shared_spaces/{space_guid}",
        Missing,
        Forbidden,
    ),
    ("GET", "/v3/service_instances/{guid}/relationships/shared_spaces/usage_summary", Missing, Ok),
    ("GET", "/v3/service_credential_bindings", EmptyList, Ok),
    ("POST", "/v3/service_credential_bindings", Invalid, Forbidden),
    ("GET", "/v3/service_credential_bindings/{guid}", Missing, Ok),
    ("PATCH", "/v3/service_credential_bindings/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/service_credential_bindings/{guid}", Missing, Forbidden),
    // Secrets are not there for those who may not see them, as upstream.
    ("GET", "/v3/service_credential_bindings/{guid}/details", Missing, Missing),
    ("GET", "/v3/service_credential_bindings/{guid}/parameters", Missing, Unsupported),
    ("POST", "/v3/routes/{guid}/relationships/shared_spaces", Missing, Forbidden),
    ("DELETE", "/v3/routes/{guid}/relationships/shared_spaces/{space_guid}", Missing, Forbidden),
    ("PATCH", "/v3/routes/{guid}/relationships/space", Missing, Forbidden),
    ("POST", "/v3/spaces/{guid}/actions/apply_manifest", Missing, Forbidden),
    ("POST", "/v3/spaces/{guid}/manifest_diff", Missing, Forbidden),
    ("DELETE", "/v3/spaces/{guid}/routes", Missing, Forbidden),
];

pub(super) const OPEN: &[(&str, &str)] = &[
    ("POST", "/v3/resource_matches"),
    // Whoever knows the id may ask what they may do, as upstream.
    ("GET", "/v3/service_instances/{guid}/permissions"),
];

/// An app with one of everything that apps have.
pub(super) struct AppFixture {
    pub app: String,
    pub package: String,
    pub build: String,
    pub droplet: String,
    pub deployment: String,
    pub revision: String,
    pub task: String,
    pub sidecar: String,
    pub domain: String,
    pub route: String,
    pub destination: String,
    pub service_instance: String,
    pub service_binding: String,
    pub space: String,
}

impl AppFixture {
    pub(super) async fn new(platform: &TestPlatform) -> Self {
        let admin = platform.as_admin().await;
        let space = platform.space.to_string();
        let body = json!({ "name": "shop", "relationships": { "space": to(&space) } });
        let app = admin.post("/v3/apps", body).await.guid();
        let body = json!({ "type": "bits", "relationships": { "app": to(&app) } });
        let package = admin.post("/v3/packages", body).await.guid();
        let domains = admin.get("/v3/domains").await;
        let domain = domains.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
        let relationships = json!({ "space": to(&space), "domain": to(&domain) });
        let body = json!({ "host": "shop", "relationships": relationships });
        let route = admin.post("/v3/routes", body).await.guid();
        let body = json!({ "destinations": [{ "app": { "guid": app } }] });
        let mapped = admin.post(&format!("/v3/routes/{route}/destinations"), body).await;
        let destination =
            mapped.expect(200)["destinations"][0]["guid"].as_str().unwrap().to_owned();
        let (build, droplet) = staged(platform, &app, &package).await;
        let path = format!("/v3/apps/{app}/relationships/current_droplet");
        admin.patch(&path, to(&droplet)).await.expect(200);
        let body = json!({ "relationships": { "app": to(&app) } });
        let deployed = admin.post("/v3/deployments", body).await;
        let revision = deployed.expect(201)["revision"]["guid"].as_str().unwrap().to_owned();
        let deployment = deployed.guid();
        let body = json!({ "command": "true" });
        let task = admin.post(&format!("/v3/apps/{app}/tasks"), body).await.guid();
        let in_space = json!({ "space": to(&space) });
        let body = json!({ "type": "user-provided", "name": "db", "relationships": in_space });
        let service_instance = admin.post("/v3/service_instances", body).await.guid();
        let body = binding_of(&service_instance, &app);
        let service_binding = admin.post("/v3/service_credential_bindings", body).await.guid();
        let body = json!({ "name": "tail", "command": "tail", "process_types": ["web"] });
        let sidecar = admin.post(&format!("/v3/apps/{app}/sidecars"), body).await;
        sidecar.expect(201);
        let sidecar = sidecar.guid();
        Self {
            app,
            package,
            build,
            droplet,
            deployment,
            revision,
            task,
            sidecar,
            domain,
            route,
            destination,
            service_instance,
            service_binding,
            space,
        }
    }

    /// Ids by the plural in the path.
    pub(super) fn ids(&self) -> [(&'static str, String); 13] {
        [
            ("apps", self.app.clone()),
            ("processes", self.app.clone()),
            ("packages", self.package.clone()),
            ("builds", self.build.clone()),
            ("droplets", self.droplet.clone()),
            ("deployments", self.deployment.clone()),
            ("revisions", self.revision.clone()),
            ("tasks", self.task.clone()),
            ("sidecars", self.sidecar.clone()),
            ("domains", self.domain.clone()),
            ("routes", self.route.clone()),
            ("service_instances", self.service_instance.clone()),
            ("service_credential_bindings", self.service_binding.clone()),
        ]
    }

    pub(super) fn path(&self, template: &str) -> String {
        template
            .replace("{type}", "web")
            .replace("{index}", "0")
            .replace("{destination_guid}", &self.destination)
            .replace("{space_guid}", &self.space)
            .replace("{org_guid}", &self.space)
    }

    pub(super) fn body(&self, method: &str, template: &str) -> Option<Value> {
        let destinations = json!({ "destinations": [{ "app": { "guid": self.app } }] });
        let body = match (method, template) {
            ("POST", "/v3/apps") => {
                json!({ "name": "other", "relationships": { "space": to(&self.space) } })
            }
            ("POST", "/v3/packages") => {
                json!({ "type": "bits", "relationships": { "app": to(&self.app) } })
            }
            ("POST", "/v3/builds") => json!({ "package": { "guid": self.package } }),
            ("POST", "/v3/droplets") => json!({ "relationships": { "app": to(&self.app) } }),
            ("POST", "/v3/deployments") => json!({ "relationships": { "app": to(&self.app) } }),
            ("POST", "/v3/apps/{guid}/tasks") => json!({ "command": "true" }),
            ("POST", "/v3/apps/{guid}/sidecars") => {
                json!({ "name": "other", "command": "true", "process_types": ["web"] })
            }
            ("POST", "/v3/domains") => json!({ "name": "other.example" }),
            ("POST", "/v3/routes") => json!({
                "host": "other",
                "relationships": { "space": to(&self.space), "domain": to(&self.domain) },
            }),
            ("POST", "/v3/service_instances") => json!({
                "type": "user-provided",
                "name": "other",
                "relationships": { "space": to(&self.space) },
            }),
            ("POST", "/v3/service_credential_bindings") => {
                binding_of(&self.service_instance, &self.app)
            }
            (_, path) if path.ends_with("/current_droplet") => to(&self.droplet),
            (_, path) if path.ends_with("/destinations") => destinations,
            ("POST", "/v3/routes/{guid}/relationships/shared_spaces") => json!({ "data": [] }),
            ("POST", path) if path.ends_with("/shared_organizations") => json!({ "data": [] }),
            ("PATCH", path) if path.ends_with("/relationships/space") => to(&self.space),
            (_, path) if path.ends_with("/environment_variables") => json!({ "var": {} }),
            _ => return None,
        };
        Some(body)
    }
}

fn binding_of(instance: &str, app: &str) -> Value {
    json!({
        "type": "app",
        "relationships": { "service_instance": to(instance), "app": to(app) },
    })
}

fn to(guid: &str) -> Value {
    json!({ "data": { "guid": guid } })
}

/// A build and a droplet, written as the staging loop does.
async fn staged(platform: &TestPlatform, app: &str, package: &str) -> (String, String) {
    let now = Timestamp::from_micros(0);
    let (app_id, package_id) = (app.parse().unwrap(), package.parse().unwrap());
    let droplet = Droplet {
        id: DropletId::random(),
        app_id,
        package_id: Some(package_id),
        state: DropletState::Staged,
        contents: DropletContents {
            version: DropletVersion::CURRENT,
            layers: vec![LayerDigest::from_sha256([1; 32])],
            process_types: BTreeMap::from([("web".to_owned(), "./start".to_owned())]),
            sidecars: Vec::new(),
            buildpacks: Vec::new(),
            stack: "host".to_owned(),
            stack_digest: String::new(),
        },
        metadata: Metadata::default(),
        created_at: now,
        updated_at: now,
    };
    let build = Build {
        id: BuildId::random(),
        app_id,
        package_id,
        state: BuildState::Staged { droplet: droplet.id },
        lifecycle: Lifecycle { buildpacks: Vec::new(), stack: "host".to_owned() },
        memory_mib: 1024,
        disk_mib: 1024,
        created_by: None,
        created_by_name: "somebody".to_owned(),
        metadata: Metadata::default(),
        created_at: now,
        updated_at: now,
    };
    let mut tx = platform.store.write(None).await.unwrap();
    store::insert(&mut *tx, &droplet).await.unwrap();
    store::insert(&mut *tx, &build).await.unwrap();
    tx.commit().await.unwrap();
    (build.id.to_string(), droplet.id.to_string())
}
