-- Further commands that run in the container of each instance of some processes.

CREATE TABLE sidecars (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    app_id TEXT COLLATE "C",
    name TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX sidecars_id_unique ON sidecars (id);
CREATE INDEX sidecars_app_id ON sidecars (app_id);
CREATE UNIQUE INDEX sidecars_app_id_name_unique ON sidecars (app_id, name);
