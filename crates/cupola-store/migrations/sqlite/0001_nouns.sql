-- One table per noun: the columns it is found, ordered and kept unique by, and its JSON body.
-- `seq` is the order of insertion. Times are microseconds since 1970 UTC.

CREATE TABLE orgs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT,
    name_lower TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX orgs_id_unique ON orgs (id);
CREATE UNIQUE INDEX orgs_name_lower_unique ON orgs (name_lower);
CREATE INDEX orgs_name ON orgs (name);

CREATE TABLE spaces (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    org_id TEXT,
    name TEXT,
    name_lower TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX spaces_id_unique ON spaces (id);
CREATE UNIQUE INDEX spaces_org_id_name_lower_unique ON spaces (org_id, name_lower);
CREATE INDEX spaces_name ON spaces (name);

CREATE TABLE users (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    username TEXT,
    username_lower TEXT,
    origin TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX users_id_unique ON users (id);
CREATE UNIQUE INDEX users_username_lower_origin_unique ON users (username_lower, origin);

CREATE TABLE roles (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    kind TEXT,
    user_id TEXT,
    org_id TEXT,
    space_id TEXT,
    scope_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX roles_id_unique ON roles (id);
CREATE UNIQUE INDEX roles_kind_user_id_scope_id_unique ON roles (kind, user_id, scope_id);
CREATE INDEX roles_user_id ON roles (user_id);
CREATE INDEX roles_org_id ON roles (org_id);
CREATE INDEX roles_space_id ON roles (space_id);
CREATE INDEX roles_scope_id ON roles (scope_id);

CREATE TABLE apps (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    space_id TEXT,
    name TEXT,
    name_lower TEXT,
    state TEXT,
    stack TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX apps_id_unique ON apps (id);
CREATE UNIQUE INDEX apps_space_id_name_lower_unique ON apps (space_id, name_lower);
CREATE INDEX apps_name ON apps (name);
CREATE INDEX apps_space_id_and_name ON apps (space_id, name);

CREATE TABLE processes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    kind TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX processes_id_unique ON processes (id);
CREATE UNIQUE INDEX processes_app_id_kind_unique ON processes (app_id, kind);

CREATE TABLE packages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX packages_id_unique ON packages (id);
CREATE INDEX packages_app_id ON packages (app_id);
CREATE INDEX packages_state ON packages (state);

CREATE TABLE builds (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    package_id TEXT,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX builds_id_unique ON builds (id);
CREATE INDEX builds_app_id ON builds (app_id);
CREATE INDEX builds_package_id ON builds (package_id);
CREATE INDEX builds_state ON builds (state);

CREATE TABLE droplets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    package_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX droplets_id_unique ON droplets (id);
CREATE INDEX droplets_app_id ON droplets (app_id);
CREATE INDEX droplets_package_id ON droplets (package_id);

CREATE TABLE buildpacks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT,
    position INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX buildpacks_id_unique ON buildpacks (id);
CREATE UNIQUE INDEX buildpacks_name_unique ON buildpacks (name);

CREATE TABLE domains (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT,
    owner_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX domains_id_unique ON domains (id);
CREATE UNIQUE INDEX domains_name_unique ON domains (name);
CREATE INDEX domains_owner_id ON domains (owner_id);

CREATE TABLE routes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    space_id TEXT,
    domain_id TEXT,
    host TEXT,
    path TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX routes_id_unique ON routes (id);
CREATE UNIQUE INDEX routes_domain_id_host_path_unique ON routes (domain_id, host, path);
CREATE INDEX routes_space_id ON routes (space_id);

CREATE TABLE destinations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    route_id TEXT,
    app_id TEXT,
    process_type TEXT,
    port INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX destinations_id_unique ON destinations (id);
CREATE UNIQUE INDEX destinations_route_id_app_id_process_type_port_unique ON destinations (route_id, app_id, process_type, port);
CREATE INDEX destinations_app_id ON destinations (app_id);

CREATE TABLE instances (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    process_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX instances_id_unique ON instances (id);
CREATE INDEX instances_app_id ON instances (app_id);
CREATE INDEX instances_process_id ON instances (process_id);

CREATE TABLE exits (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    process_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX exits_id_unique ON exits (id);
CREATE INDEX exits_app_id ON exits (app_id);
CREATE INDEX exits_process_id ON exits (process_id);
CREATE INDEX exits_created_at ON exits (created_at);

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    operation TEXT,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX jobs_id_unique ON jobs (id);
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_created_at ON jobs (created_at);

CREATE TABLE audit_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    kind TEXT,
    target_id TEXT,
    space_id TEXT,
    org_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX audit_events_id_unique ON audit_events (id);
CREATE INDEX audit_events_kind ON audit_events (kind);
CREATE INDEX audit_events_target_id ON audit_events (target_id);
CREATE INDEX audit_events_space_id ON audit_events (space_id);
CREATE INDEX audit_events_org_id ON audit_events (org_id);
CREATE INDEX audit_events_created_at ON audit_events (created_at);

CREATE TABLE feature_flags (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX feature_flags_id_unique ON feature_flags (id);

-- Who leads which loop: a taker raises the epoch, and writes with an older one are refused.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL
);
