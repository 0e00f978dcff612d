-- What delivery needs: what instances are started from, numbered releases, replacing
-- one by another, and tasks.

CREATE TABLE deployments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX deployments_id_unique ON deployments (id);
CREATE INDEX deployments_app_id ON deployments (app_id);
CREATE INDEX deployments_state ON deployments (state);

CREATE TABLE generations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX generations_id_unique ON generations (id);
CREATE INDEX generations_app_id ON generations (app_id);

CREATE TABLE revisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    version INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX revisions_id_unique ON revisions (id);
CREATE UNIQUE INDEX revisions_app_id_version_unique ON revisions (app_id, version);

CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    name TEXT,
    sequence INTEGER,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX tasks_id_unique ON tasks (id);
CREATE UNIQUE INDEX tasks_app_id_sequence_unique ON tasks (app_id, sequence);
CREATE INDEX tasks_name ON tasks (name);
CREATE INDEX tasks_state ON tasks (state);
