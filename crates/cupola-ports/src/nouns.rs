//! The tables of the nouns: which columns each is found by and kept unique by.

use cupola_domain::{
    apps::App,
    audit::AuditEvent,
    buildpacks::Buildpack,
    builds::{Build, BuildState},
    deployments::Deployment,
    domains::Domain,
    droplets::Droplet,
    feature_flags::FeatureFlag,
    generations::Generation,
    instances::{Exit, Instance},
    jobs::{Job, JobState},
    orgs::Org,
    packages::{Package, PackageState},
    processes::Process,
    revisions::Revision,
    roles::{Role, RoleScope},
    routes::{Destination, Route},
    sealed::Sealed,
    services::{ServiceBinding, ServiceInstance},
    sidecars::Sidecar,
    spaces::Space,
    tasks::Task,
    time::Timestamp,
    users::User,
};

use crate::store::{Column, ColumnKind, Noun, Table, Value};

/// Every table, for migrations and for emptying a database in tests.
pub const TABLES: &[&Table] = &[
    Org::TABLE,
    Space::TABLE,
    User::TABLE,
    Role::TABLE,
    App::TABLE,
    Process::TABLE,
    Package::TABLE,
    Build::TABLE,
    Droplet::TABLE,
    Buildpack::TABLE,
    Domain::TABLE,
    Route::TABLE,
    Destination::TABLE,
    Instance::TABLE,
    Exit::TABLE,
    Job::TABLE,
    AuditEvent::TABLE,
    FeatureFlag::TABLE,
    Deployment::TABLE,
    Generation::TABLE,
    Revision::TABLE,
    Task::TABLE,
    ServiceInstance::TABLE,
    ServiceBinding::TABLE,
    Sidecar::TABLE,
];

const fn text(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Text }
}

const fn integer(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Integer }
}

fn id(id: impl ToString) -> Value {
    Value::Text(id.to_string())
}

/// The key that must be there to read the row's secret.
fn sealing_key(sealed: Option<&Sealed>) -> Value {
    sealed.map(|sealed| sealed.key().to_owned()).into()
}

/// Says how a noun with the usual `id`, `created_at` and `updated_at` is stored.
macro_rules! noun {
    ($noun:ty, $table:literal, columns [$($column:expr),* $(,)?], unique $unique:expr,
     |$row:ident| $values:expr) => {
        impl Noun for $noun {
            const TABLE: &'static Table =
                &Table { name: $table, columns: &[$($column),*], unique: $unique };

            fn id(&self) -> String {
                self.id.to_string()
            }

            fn values(&self) -> Vec<Value> {
                let $row = self;
                Vec::from($values)
            }

            fn created_at(&self) -> Timestamp {
                self.created_at
            }

            fn updated_at(&self) -> Timestamp {
                self.updated_at
            }
        }
    };
}

// Names are unique without regard to case, as upstream, so that the column holds the lower case.
noun!(Org, "orgs", columns [text("name"), text("name_lower")], unique &[&["name_lower"]],
    |org| [org.name.clone().into(), org.name.to_lowercase().into()]);

noun!(Space, "spaces",
    columns [text("org_id"), text("name"), text("name_lower")], unique &[&["org_id", "name_lower"]],
    |space| [id(space.org_id), space.name.clone().into(), space.name.to_lowercase().into()]);

noun!(User, "users",
columns [text("username"), text("username_lower"), text("origin")],
unique &[&["username_lower", "origin"]],
|user| [
    user.username.clone().into(),
    user.username.to_lowercase().into(),
    user.origin.clone().into(),
]);

noun!(Role, "roles",
columns [text("kind"), text("user_id"), text("org_id"), text("space_id"), text("scope_id")],
unique &[&["kind", "user_id", "scope_id"]],
|role| {
    let (org, space) = match role.scope {
        RoleScope::Org(org) => (id(org), Value::Null),
        RoleScope::Space(space) => (Value::Null, id(space)),
    };
    let scope = if org == Value::Null { space.clone() } else { org.clone() };
    [role.kind.name().into(), id(role.user_id), org, space, scope]
});

noun!(App, "apps",
columns [text("space_id"), text("name"), text("name_lower"), text("state"), text("stack")],
unique &[&["space_id", "name_lower"]],
|app| [
    id(app.space_id),
    app.name.clone().into(),
    app.name.to_lowercase().into(),
    match app.desired {
        cupola_domain::apps::AppState::Started => "STARTED",
        cupola_domain::apps::AppState::Stopped => "STOPPED",
    }.into(),
    app.lifecycle.stack.clone().into(),
]);

noun!(Process, "processes",
    columns [text("app_id"), text("kind")], unique &[&["app_id", "kind"]],
    |process| [id(process.app_id), process.kind.clone().into()]);

noun!(Package, "packages",
    columns [text("app_id"), text("state")], unique &[],
    |package| [id(package.app_id), match package.state {
        PackageState::AwaitingUpload => "AWAITING_UPLOAD",
        PackageState::ProcessingUpload => "PROCESSING_UPLOAD",
        PackageState::Ready { .. } => "READY",
        PackageState::Failed { .. } => "FAILED",
        PackageState::Expired => "EXPIRED",
    }.into()]);

noun!(Build, "builds",
    columns [text("app_id"), text("package_id"), text("state")], unique &[],
    |build| [id(build.app_id), id(build.package_id), match build.state {
        BuildState::Staging => "STAGING",
        BuildState::Staged { .. } => "STAGED",
        BuildState::Failed { .. } => "FAILED",
    }.into()]);

noun!(Droplet, "droplets",
columns [text("app_id"), text("package_id"), text("state")], unique &[],
|droplet| [
    id(droplet.app_id),
    droplet.package_id.map(|id| id.to_string()).into(),
    droplet.state.name().into(),
]);

noun!(Buildpack, "buildpacks",
    columns [text("name"), integer("position")], unique &[&["name"]],
    |buildpack| [buildpack.name.clone().into(), i64::from(buildpack.position).into()]);

noun!(Domain, "domains",
columns [text("name"), text("owner_id"), text("shared_with")], unique &[&["name"]],
|domain| [
    domain.name.clone().into(),
    domain.owner.map(|id| id.to_string()).into(),
    // To be searched for one of them.
    domain.shared_orgs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").into(),
]);

noun!(Route, "routes",
columns [text("space_id"), text("domain_id"), text("host"), text("path")],
unique &[&["domain_id", "host", "path"]],
|route| [
    id(route.space_id),
    id(route.domain_id),
    route.host.clone().into(),
    route.path.clone().into(),
]);

// The port is written as a number even where none is set, so that two destinations without a port
// are the same for the unique set.
noun!(Destination, "destinations",
columns [text("route_id"), text("app_id"), text("process_type"), integer("port")],
unique &[&["route_id", "app_id", "process_type", "port"]],
|destination| [
    id(destination.route_id),
    id(destination.app_id),
    destination.process_type.clone().into(),
    i64::from(destination.port.unwrap_or(0)).into(),
]);

noun!(Instance, "instances",
    columns [text("app_id"), text("process_id")], unique &[],
    |instance| [id(instance.app_id), id(instance.process_id)]);

noun!(Job, "jobs", columns [text("operation"), text("state")], unique &[],
    |job| [job.operation.clone().into(), match job.state {
        JobState::Processing => "PROCESSING",
        JobState::Polling => "POLLING",
        JobState::Complete => "COMPLETE",
        JobState::Failed => "FAILED",
    }.into()]);

noun!(Deployment, "deployments",
columns [text("app_id"), text("state"), integer("is_cost_due")], unique &[],
|deployment| [
    id(deployment.app_id),
    deployment.state.name().into(),
    i64::from(deployment.is_cost_due()).into(),
]);

noun!(Revision, "revisions",
    columns [text("app_id"), integer("version")], unique &[&["app_id", "version"]],
    |revision| [id(revision.app_id), i64::from(revision.version).into()]);

noun!(Sidecar, "sidecars",
    columns [text("app_id"), text("name")], unique &[&["app_id", "name"]],
    |sidecar| [id(sidecar.app_id), sidecar.spec.name.clone().into()]);

noun!(Task, "tasks",
columns [
    text("app_id"), text("name"), integer("sequence"), text("state"), text("sealing_key"),
],
unique &[&["app_id", "sequence"]],
|task| [
    id(task.app_id),
    task.name.clone().into(),
    i64::from(task.sequence).into(),
    task.state.name().into(),
    sealing_key(task.services.as_ref()),
]);

noun!(ServiceInstance, "service_instances",
columns [text("space_id"), text("name"), text("name_lower"), text("sealing_key")],
unique &[&["space_id", "name_lower"]],
|instance| [
    id(instance.space_id),
    instance.name.clone().into(),
    instance.name.to_lowercase().into(),
    sealing_key(instance.credentials.as_ref()),
]);

// With the strategy `multiple`, bindings of one app to one instance have the same name.
noun!(ServiceBinding, "service_bindings",
columns [text("app_id"), text("service_instance_id"), text("name")], unique &[],
|binding| [
    id(binding.app_id),
    id(binding.service_instance_id),
    binding.name.clone().into(),
]);

impl Noun for Generation {
    const TABLE: &'static Table = &Table {
        name: "generations",
        columns: &[text("app_id"), text("sealing_key")],
        unique: &[],
    };

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn values(&self) -> Vec<Value> {
        vec![id(self.app_id), sealing_key(self.services.as_ref())]
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}

impl Noun for AuditEvent {
    const TABLE: &'static Table = &Table {
        name: "audit_events",
        columns: &[
            text("kind"),
            text("target_id"),
            text("app_id"),
            text("space_id"),
            text("org_id"),
        ],
        unique: &[],
    };

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn values(&self) -> Vec<Value> {
        vec![
            self.kind.clone().into(),
            self.target.id.clone().into(),
            self.app_id().map(str::to_owned).into(),
            self.space_id.map(|id| id.to_string()).into(),
            self.org_id.map(|id| id.to_string()).into(),
        ]
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}

impl Noun for Exit {
    const TABLE: &'static Table =
        &Table { name: "exits", columns: &[text("app_id"), text("process_id")], unique: &[] };

    fn id(&self) -> String {
        self.instance_id.to_string()
    }

    fn values(&self) -> Vec<Value> {
        vec![id(self.app_id), id(self.process_id)]
    }

    fn created_at(&self) -> Timestamp {
        self.ended_at
    }

    fn updated_at(&self) -> Timestamp {
        self.ended_at
    }
}

impl Noun for FeatureFlag {
    const TABLE: &'static Table = &Table { name: "feature_flags", columns: &[], unique: &[] };

    fn id(&self) -> String {
        self.name.clone()
    }

    fn values(&self) -> Vec<Value> {
        Vec::new()
    }

    fn created_at(&self) -> Timestamp {
        self.updated_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}
