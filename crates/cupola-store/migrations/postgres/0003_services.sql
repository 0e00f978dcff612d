-- Services that users provide, their bindings to apps, and with which key secrets are sealed.

CREATE TABLE service_instances (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    space_id TEXT COLLATE "C",
    name TEXT COLLATE "C",
    name_lower TEXT COLLATE "C",
    sealing_key TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX service_instances_id_unique ON service_instances (id);
CREATE UNIQUE INDEX service_instances_space_id_name_lower_unique ON service_instances (space_id, name_lower);
CREATE INDEX service_instances_name ON service_instances (name);
CREATE INDEX service_instances_sealing_key ON service_instances (sealing_key);

CREATE TABLE service_bindings (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    app_id TEXT COLLATE "C",
    service_instance_id TEXT COLLATE "C",
    name TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX service_bindings_id_unique ON service_bindings (id);
CREATE INDEX service_bindings_app_id ON service_bindings (app_id);
CREATE INDEX service_bindings_service_instance_id ON service_bindings (service_instance_id);

ALTER TABLE generations ADD COLUMN sealing_key TEXT COLLATE "C";
CREATE INDEX generations_sealing_key ON generations (sealing_key);
ALTER TABLE tasks ADD COLUMN sealing_key TEXT COLLATE "C";
CREATE INDEX tasks_sealing_key ON tasks (sealing_key);
