-- What delivery needs: what instances are started from, numbered releases, replacing
-- one by another, and tasks.

CREATE TABLE deployments (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    app_id TEXT COLLATE "C",
    state TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX deployments_id_unique ON deployments (id);
CREATE INDEX deployments_app_id ON deployments (app_id);
CREATE INDEX deployments_state ON deployments (state);

CREATE TABLE generations (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    app_id TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX generations_id_unique ON generations (id);
CREATE INDEX generations_app_id ON generations (app_id);

CREATE TABLE revisions (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    app_id TEXT COLLATE "C",
    version BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX revisions_id_unique ON revisions (id);
CREATE UNIQUE INDEX revisions_app_id_version_unique ON revisions (app_id, version);

CREATE TABLE tasks (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    app_id TEXT COLLATE "C",
    name TEXT COLLATE "C",
    sequence BIGINT,
    state TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX tasks_id_unique ON tasks (id);
CREATE UNIQUE INDEX tasks_app_id_sequence_unique ON tasks (app_id, sequence);
CREATE INDEX tasks_name ON tasks (name);
CREATE INDEX tasks_state ON tasks (state);
