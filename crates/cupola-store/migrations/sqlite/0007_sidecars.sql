-- Further commands that run in the container of each instance of some processes.

CREATE TABLE sidecars (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    name TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX sidecars_id_unique ON sidecars (id);
CREATE INDEX sidecars_app_id ON sidecars (app_id);
CREATE UNIQUE INDEX sidecars_app_id_name_unique ON sidecars (app_id, name);
