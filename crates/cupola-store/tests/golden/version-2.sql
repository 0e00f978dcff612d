-- A database of SQLite as version 2 of the schema wrote it: a platform with one app that was pushed,
-- deployed, crashed and ran a task, and one that was deleted. Not edited: a change of the schema is
-- a further migration, which has to open this.
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'nouns','2026-11-24 19:27:19',1,X'CB75C64A4B6CB923721CD86D06DC0A563159A62AAC48935061DA28F6C611E1F4C7C2D9AE4B0B9A6D4CF983B88EB142D7',14591944);
INSERT INTO "_sqlx_migrations" VALUES(2,'delivery','2026-11-24 19:27:19',1,X'C6E111D1B76ACD5739AA7B0CDE64DCA744E5CFD3D72386CF0CA700CA621DC83C44BA9EE662EBACE6448AB9AC69F84462',6313123);
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
INSERT INTO "apps" VALUES(1,'b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','shop','shop','STARTED','host',1835438400000000,1835438400000000,'{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","name":"shop","desired":"STARTED","lifecycle":{"buildpacks":[],"stack":"host"},"environment":{"COLOUR":"red"},"current_droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","generation":"0efdea6e-aaa5-4451-88ba-ee14b723456b","revisions_enabled":true,"ssh_enabled":true,"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "audit_events" VALUES(1,'312c2d91-4a44-46a3-8aec-a7e1f0105de6','audit.app.create','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"312c2d91-4a44-46a3-8aec-a7e1f0105de6","kind":"audit.app.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"request":{"name":"shop"}},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(2,'0bddcc51-2cb1-493d-9769-04cb7f600c95','audit.app.process.create','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"0bddcc51-2cb1-493d-9769-04cb7f600c95","kind":"audit.app.process.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"process_guid":"b2416599-a4e4-48f1-b942-ba09b91f4c35","process_type":"web"},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(3,'34801671-678f-451b-a077-f7ab837e5648','audit.route.create','8cf7d369-cac3-40bd-8f16-a695e6041148','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"34801671-678f-451b-a077-f7ab837e5648","kind":"audit.route.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"8cf7d369-cac3-40bd-8f16-a695e6041148","kind":"route","name":"shop.apps.cupola.test"},"data":{"request":{"host":"shop","path":""}},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(4,'24bf41a6-aff1-48e4-a8ee-a88177929075','audit.app.map-route','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"24bf41a6-aff1-48e4-a8ee-a88177929075","kind":"audit.app.map-route","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"app_port":8080,"destination_guid":"b36007a6-c36e-4aaf-aa1d-c358ff80970a","process_type":"web","protocol":"http1","route_guid":"8cf7d369-cac3-40bd-8f16-a695e6041148","route_mapping_guid":"b36007a6-c36e-4aaf-aa1d-c358ff80970a","weight":null},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(5,'d1558f2b-5700-465e-bfee-5eed00f24043','audit.app.apply_manifest','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"d1558f2b-5700-465e-bfee-5eed00f24043","kind":"audit.app.apply_manifest","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"request":{"manifest":"shop"}},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(6,'4ffdc636-63ac-430b-b96c-a2984d8a2d8a','audit.app.package.create','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"4ffdc636-63ac-430b-b96c-a2984d8a2d8a","kind":"audit.app.package.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"package_guid":"488cfb80-20b8-4712-b195-7296410c3fa0","request":{"type":"bits"}},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(7,'63c345eb-769e-49b9-8169-f4af20d86549','audit.app.upload-bits','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"63c345eb-769e-49b9-8169-f4af20d86549","kind":"audit.app.upload-bits","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"package_guid":"488cfb80-20b8-4712-b195-7296410c3fa0"},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(8,'a7578912-cde5-467c-b487-ede21a51c733','audit.app.build.create','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"a7578912-cde5-467c-b487-ede21a51c733","kind":"audit.app.build.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"build_guid":"47244b58-e469-412c-a275-756939fc7375","package_guid":"488cfb80-20b8-4712-b195-7296410c3fa0"},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(9,'501b8eb7-efbf-4bdc-aa78-189b31befcd1','audit.app.droplet.mapped','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"501b8eb7-efbf-4bdc-aa78-189b31befcd1","kind":"audit.app.droplet.mapped","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"request":{"droplet_guid":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe"}},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(10,'c1992111-4e5b-4848-875b-5ab3761673ab','audit.app.revision.create','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"c1992111-4e5b-4848-875b-5ab3761673ab","kind":"audit.app.revision.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"revision_guid":"225d3666-40da-4d21-aeea-96b67087a305","revision_version":1},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(11,'3068b025-5a61-442b-aabf-367cf6e43f1c','audit.app.restart','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"3068b025-5a61-442b-aabf-367cf6e43f1c","kind":"audit.app.restart","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(12,'e47fb825-7061-4b94-a47a-66fe437a587b','audit.app.update','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"e47fb825-7061-4b94-a47a-66fe437a587b","kind":"audit.app.update","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"request":{"environment_variables":"[PRIVATE DATA HIDDEN]"}},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(13,'bfcab150-9b41-4e14-b2b7-56d76118eb94','audit.app.task.create','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"bfcab150-9b41-4e14-b2b7-56d76118eb94","kind":"audit.app.task.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"request":{"command":"[PRIVATE DATA HIDDEN]","memory_in_mb":1024,"name":"474c0c95"},"task_guid":"474c0c95-0252-42de-9538-ceed92a53f3e"},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(15,'c13d4095-0e69-4f20-abbb-cbc47542c9d5','audit.app.deployment.create','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"c13d4095-0e69-4f20-abbb-cbc47542c9d5","kind":"audit.app.deployment.create","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"deployment_guid":"c80c88fd-4d21-40e5-a3f6-f3ed5958474d","droplet_guid":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","request":{"relationships":{"app":{"data":{"guid":"b2416599-a4e4-48f1-b942-ba09b91f4c35"}}}},"revision_guid":"9dd5b42c-56ee-41a8-bae3-6fa9bc3bc445","strategy":"rolling","type":null},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(19,'d479d01e-ecbe-40f9-898c-140b921b292f','audit.app.process.crash','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"d479d01e-ecbe-40f9-898c-140b921b292f","kind":"audit.app.process.crash","actor":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"process","name":"web"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"crash_count":1,"crash_timestamp":1835438400000000000,"exit_description":"Exited with status 1","index":0,"instance":"463fcd6d-7879-4983-8de4-adc0714bc28b","reason":"CRASHED","version":"0efdea6e-aaa5-4451-88ba-ee14b723456b"},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(20,'3d92f999-0b13-4e5d-ba10-7460ba976330','app.crash','b2416599-a4e4-48f1-b942-ba09b91f4c35','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"3d92f999-0b13-4e5d-ba10-7460ba976330","kind":"app.crash","actor":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"target":{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"app","name":"shop"},"data":{"crash_count":1,"crash_timestamp":1835438400000000000,"exit_description":"Exited with status 1","index":0,"instance":"463fcd6d-7879-4983-8de4-adc0714bc28b","reason":"CRASHED","version":"0efdea6e-aaa5-4451-88ba-ee14b723456b"},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
INSERT INTO "audit_events" VALUES(21,'0a354093-e2b0-40d3-a286-11e5013dae0e','audit.app.delete-request','ab8c5384-d35e-4275-b1d7-d0f0f00bfe97','087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"0a354093-e2b0-40d3-a286-11e5013dae0e","kind":"audit.app.delete-request","actor":{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","kind":"user","name":"admin"},"target":{"id":"ab8c5384-d35e-4275-b1d7-d0f0f00bfe97","kind":"app","name":"other"},"data":{},"space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","created_at":1835438400000000}');
CREATE TABLE buildpacks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT,
    position INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "buildpacks" VALUES(1,'123ffd5a-19ef-4e01-8464-a50aa36bafd7','staticfile_buildpack',1,1835438400000000,1835438400000000,'{"id":"123ffd5a-19ef-4e01-8464-a50aa36bafd7","name":"staticfile_buildpack","position":1,"enabled":true,"locked":false,"builtin":"staticfile","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "buildpacks" VALUES(2,'a16db297-16d5-4829-84c5-8c86f9ef1404','nodejs_buildpack',2,1835438400000000,1835438400000000,'{"id":"a16db297-16d5-4829-84c5-8c86f9ef1404","name":"nodejs_buildpack","position":2,"enabled":true,"locked":false,"builtin":"nodejs","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "buildpacks" VALUES(3,'cee170cf-fe6f-4097-b308-8bf78374ae94','go_buildpack',3,1835438400000000,1835438400000000,'{"id":"cee170cf-fe6f-4097-b308-8bf78374ae94","name":"go_buildpack","position":3,"enabled":true,"locked":false,"builtin":"go","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "buildpacks" VALUES(4,'930a14fe-6cd3-4ed9-a2e0-bc3e301b1a77','python_buildpack',4,1835438400000000,1835438400000000,'{"id":"930a14fe-6cd3-4ed9-a2e0-bc3e301b1a77","name":"python_buildpack","position":4,"enabled":true,"locked":false,"builtin":"python","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "buildpacks" VALUES(5,'bcd94c77-7cc9-40ec-b55a-87ae26029ca8','binary_buildpack',5,1835438400000000,1835438400000000,'{"id":"bcd94c77-7cc9-40ec-b55a-87ae26029ca8","name":"binary_buildpack","position":5,"enabled":true,"locked":false,"builtin":"binary","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "builds" VALUES(1,'47244b58-e469-412c-a275-756939fc7375','b2416599-a4e4-48f1-b942-ba09b91f4c35','488cfb80-20b8-4712-b195-7296410c3fa0','STAGED',1835438400000000,1835438400000000,'{"id":"47244b58-e469-412c-a275-756939fc7375","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","package_id":"488cfb80-20b8-4712-b195-7296410c3fa0","state":{"state":"STAGED","droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe"},"lifecycle":{"buildpacks":[],"stack":"host"},"memory_mib":1024,"disk_mib":4096,"created_by":"8ac80488-9999-4d10-90a3-bfb605e78ca5","created_by_name":"admin","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE deployments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "deployments" VALUES(1,'c80c88fd-4d21-40e5-a3f6-f3ed5958474d','b2416599-a4e4-48f1-b942-ba09b91f4c35','DEPLOYED',1835438400000000,1835438400000000,'{"id":"c80c88fd-4d21-40e5-a3f6-f3ed5958474d","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","strategy":{"strategy":"rolling"},"max_in_flight":1,"web":{"instances":null,"memory_mib":null,"disk_mib":null,"log_rate_bytes_per_s":null},"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","before":{"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{"COLOUR":"red"},"commands":{"web":null}},"revision":["9dd5b42c-56ee-41a8-bae3-6fa9bc3bc445",2],"state":"DEPLOYED","step":0,"new":{"generation":"0efdea6e-aaa5-4451-88ba-ee14b723456b","indices":[0]},"replaces":[{"generation":"94949368-7e53-4b86-947c-fee095a73b88","indices":[]}],"error":null,"healthy_at":1835438400000000,"state_changed_at":1835438400000000,"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "deployments" VALUES(2,'e7930b36-726f-4093-a894-710d4722e24d','b2416599-a4e4-48f1-b942-ba09b91f4c35','PAUSED',1835438400000000,1835438400000000,'{"id":"e7930b36-726f-4093-a894-710d4722e24d","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","strategy":{"strategy":"canary","weights":[]},"max_in_flight":1,"web":{"instances":null,"memory_mib":null,"disk_mib":null,"log_rate_bytes_per_s":null},"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","before":{"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{"COLOUR":"red"},"commands":{"web":null}},"revision":["9dd5b42c-56ee-41a8-bae3-6fa9bc3bc445",2],"state":"PAUSED","step":1,"new":{"generation":"f554f2d5-ab8e-4d55-af25-7b06b45c887b","indices":[0]},"replaces":[{"generation":"0efdea6e-aaa5-4451-88ba-ee14b723456b","indices":[0]}],"error":null,"healthy_at":1835438400000000,"state_changed_at":1835438400000000,"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "destinations" VALUES(1,'b36007a6-c36e-4aaf-aa1d-c358ff80970a','8cf7d369-cac3-40bd-8f16-a695e6041148','b2416599-a4e4-48f1-b942-ba09b91f4c35','web',0,1835438400000000,1835438400000000,'{"id":"b36007a6-c36e-4aaf-aa1d-c358ff80970a","route_id":"8cf7d369-cac3-40bd-8f16-a695e6041148","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","process_type":"web","port":null,"protocol":"http1","weight":null,"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE domains (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT,
    owner_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "domains" VALUES(1,'09638506-b696-4700-ba0b-3ed6c4fe5316','apps.cupola.test',NULL,1835438400000000,1835438400000000,'{"id":"09638506-b696-4700-ba0b-3ed6c4fe5316","name":"apps.cupola.test","owner":null,"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE droplets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    package_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "droplets" VALUES(1,'d70b7b90-ebe5-413d-affd-7b9a3f997fbe','b2416599-a4e4-48f1-b942-ba09b91f4c35','488cfb80-20b8-4712-b195-7296410c3fa0',1835438400000000,1835438400000000,'{"id":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","package_id":"488cfb80-20b8-4712-b195-7296410c3fa0","contents":{"version":1,"layers":["sha256:4a70fe9aa6436e02c2dea340fbd1e352e4ef2d8ce6ca52ad25d4b95471fc8bf2"],"process_types":{"web":"./start"},"buildpacks":[{"name":"binary_buildpack","detect_output":"fake","buildpack_name":null,"version":"1.0"}],"stack":"host","stack_digest":"fake"},"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE exits (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    process_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "exits" VALUES(1,'463fcd6d-7879-4983-8de4-adc0714bc28b','b2416599-a4e4-48f1-b942-ba09b91f4c35','b2416599-a4e4-48f1-b942-ba09b91f4c35',1835438400000000,1835438400000000,'{"instance_id":"463fcd6d-7879-4983-8de4-adc0714bc28b","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","process_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","process_type":"web","index":0,"cause":{"cause":"exited","code":1},"killed":false,"memory_peak_bytes":null,"started_at":1835438400000000,"ended_at":1835438400000000,"crash_count":1,"restart_at":1835438400000000}');
CREATE TABLE feature_flags (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "feature_flags" VALUES(1,'diego_docker',1835438400000000,1835438400000000,'{"name":"diego_docker","enabled":true,"custom_error_message":null,"updated_at":1835438400000000}');
CREATE TABLE generations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "generations" VALUES(1,'94949368-7e53-4b86-947c-fee095a73b88','b2416599-a4e4-48f1-b942-ba09b91f4c35',1835438400000000,1835438400000000,'{"id":"94949368-7e53-4b86-947c-fee095a73b88","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","release":{"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{},"processes":{"web":{"command":null,"limits":{"memory_mib":1024,"disk_mib":1024,"log_rate_bytes_per_s":1048576},"health_check":{"check":{"type":"port"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null},"readiness_check":{"check":{"type":"process"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null}}}},"revision":"225d3666-40da-4d21-aeea-96b67087a305","created_at":1835438400000000}');
INSERT INTO "generations" VALUES(2,'0efdea6e-aaa5-4451-88ba-ee14b723456b','b2416599-a4e4-48f1-b942-ba09b91f4c35',1835438400000000,1835438400000000,'{"id":"0efdea6e-aaa5-4451-88ba-ee14b723456b","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","release":{"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{"COLOUR":"red"},"processes":{"web":{"command":null,"limits":{"memory_mib":1024,"disk_mib":1024,"log_rate_bytes_per_s":1048576},"health_check":{"check":{"type":"port"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null},"readiness_check":{"check":{"type":"process"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null}}}},"revision":"9dd5b42c-56ee-41a8-bae3-6fa9bc3bc445","created_at":1835438400000000}');
INSERT INTO "generations" VALUES(3,'f554f2d5-ab8e-4d55-af25-7b06b45c887b','b2416599-a4e4-48f1-b942-ba09b91f4c35',1835438400000000,1835438400000000,'{"id":"f554f2d5-ab8e-4d55-af25-7b06b45c887b","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","release":{"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{"COLOUR":"red"},"processes":{"web":{"command":null,"limits":{"memory_mib":1024,"disk_mib":1024,"log_rate_bytes_per_s":1048576},"health_check":{"check":{"type":"port"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null},"readiness_check":{"check":{"type":"process"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null}}}},"revision":"9dd5b42c-56ee-41a8-bae3-6fa9bc3bc445","created_at":1835438400000000}');
CREATE TABLE instances (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    process_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "instances" VALUES(3,'10d6a2c6-9882-441f-b8c5-9c69c0e26de2','b2416599-a4e4-48f1-b942-ba09b91f4c35','b2416599-a4e4-48f1-b942-ba09b91f4c35',1835438400000000,1835438400000000,'{"id":"10d6a2c6-9882-441f-b8c5-9c69c0e26de2","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","process_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","index":0,"generation":"f554f2d5-ab8e-4d55-af25-7b06b45c887b","state":"running","crash_count":0,"restart_at":null,"detail":null,"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "instances" VALUES(4,'79c6bcee-636d-4c8d-8c3c-7d57fbefb460','b2416599-a4e4-48f1-b942-ba09b91f4c35','b2416599-a4e4-48f1-b942-ba09b91f4c35',1835438400000000,1835438400000000,'{"id":"79c6bcee-636d-4c8d-8c3c-7d57fbefb460","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","process_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","index":0,"generation":"0efdea6e-aaa5-4451-88ba-ee14b723456b","state":"running","crash_count":1,"restart_at":null,"detail":null,"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    operation TEXT,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "jobs" VALUES(1,'6ac0e78c-9ce4-4c7b-8edf-e8f7db69f3ea','space.apply_manifest','COMPLETE',1835438400000000,1835438400000000,'{"id":"6ac0e78c-9ce4-4c7b-8edf-e8f7db69f3ea","operation":"space.apply_manifest","state":"COMPLETE","errors":[],"warnings":[],"failures":0,"input":{"admin":true,"input":{"manifest":"applications:\n- name: shop\n  default-route: true\n","operation":"apply_manifest","space":"087c9322-4003-41e9-877f-ffb98cb44ecc"},"user_id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","username":"admin"},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "jobs" VALUES(2,'7182814c-17af-4b44-a1ab-4be8021d6876','app.delete','COMPLETE',1835438400000000,1835438400000000,'{"id":"7182814c-17af-4b44-a1ab-4be8021d6876","operation":"app.delete","state":"COMPLETE","errors":[],"warnings":[],"failures":0,"input":{"admin":true,"input":{"app":"ab8c5384-d35e-4275-b1d7-d0f0f00bfe97","operation":"delete_app"},"user_id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","username":"admin"},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL
);
INSERT INTO "leases" VALUES('loops',1);
CREATE TABLE orgs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT,
    name_lower TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "orgs" VALUES(1,'54b7c733-6821-438f-91dd-222732182458','default','default',1835438400000000,1835438400000000,'{"id":"54b7c733-6821-438f-91dd-222732182458","name":"default","suspended":false,"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE packages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    state TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "packages" VALUES(1,'488cfb80-20b8-4712-b195-7296410c3fa0','b2416599-a4e4-48f1-b942-ba09b91f4c35','READY',1835438400000000,1835438400000000,'{"id":"488cfb80-20b8-4712-b195-7296410c3fa0","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","state":{"state":"READY","layer":"sha256:4a70fe9aa6436e02c2dea340fbd1e352e4ef2d8ce6ca52ad25d4b95471fc8bf2"},"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE processes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    kind TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "processes" VALUES(1,'b2416599-a4e4-48f1-b942-ba09b91f4c35','b2416599-a4e4-48f1-b942-ba09b91f4c35','web',1835438400000000,1835438400000000,'{"id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","kind":"web","command":null,"instances":1,"limits":{"memory_mib":1024,"disk_mib":1024,"log_rate_bytes_per_s":1048576},"health_check":{"check":{"type":"port"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null},"readiness_check":{"check":{"type":"process"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null},"generation":"0efdea6e-aaa5-4451-88ba-ee14b723456b","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE TABLE revisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    app_id TEXT,
    version INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO "revisions" VALUES(1,'225d3666-40da-4d21-aeea-96b67087a305','b2416599-a4e4-48f1-b942-ba09b91f4c35',1,1835438400000000,1835438400000000,'{"id":"225d3666-40da-4d21-aeea-96b67087a305","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","version":1,"description":"Initial revision.","release":{"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{},"processes":{"web":{"command":null,"limits":{"memory_mib":1024,"disk_mib":1024,"log_rate_bytes_per_s":1048576},"health_check":{"check":{"type":"port"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null},"readiness_check":{"check":{"type":"process"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null}}}},"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "revisions" VALUES(2,'9dd5b42c-56ee-41a8-bae3-6fa9bc3bc445','b2416599-a4e4-48f1-b942-ba09b91f4c35',2,1835438400000000,1835438400000000,'{"id":"9dd5b42c-56ee-41a8-bae3-6fa9bc3bc445","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","version":2,"description":"New environment variables deployed.","release":{"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{"COLOUR":"red"},"processes":{"web":{"command":null,"limits":{"memory_mib":1024,"disk_mib":1024,"log_rate_bytes_per_s":1048576},"health_check":{"check":{"type":"port"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null},"readiness_check":{"check":{"type":"process"},"start_timeout_s":null,"invocation_timeout_s":null,"interval_s":null}}}},"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "roles" VALUES(1,'71e0787d-0898-403e-ab5d-93bbb363daca','organization_user','ff298959-4048-4176-87a2-0d6478fb3936','54b7c733-6821-438f-91dd-222732182458',NULL,'54b7c733-6821-438f-91dd-222732182458',1835438400000000,1835438400000000,'{"id":"71e0787d-0898-403e-ab5d-93bbb363daca","kind":"organization_user","user_id":"ff298959-4048-4176-87a2-0d6478fb3936","scope":{"org":"54b7c733-6821-438f-91dd-222732182458"},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "roles" VALUES(2,'20eed305-8813-415d-aa9d-297a655696ca','space_developer','ff298959-4048-4176-87a2-0d6478fb3936',NULL,'087c9322-4003-41e9-877f-ffb98cb44ecc','087c9322-4003-41e9-877f-ffb98cb44ecc',1835438400000000,1835438400000000,'{"id":"20eed305-8813-415d-aa9d-297a655696ca","kind":"space_developer","user_id":"ff298959-4048-4176-87a2-0d6478fb3936","scope":{"space":"087c9322-4003-41e9-877f-ffb98cb44ecc"},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "routes" VALUES(1,'8cf7d369-cac3-40bd-8f16-a695e6041148','087c9322-4003-41e9-877f-ffb98cb44ecc','09638506-b696-4700-ba0b-3ed6c4fe5316','shop','',1835438400000000,1835438400000000,'{"id":"8cf7d369-cac3-40bd-8f16-a695e6041148","space_id":"087c9322-4003-41e9-877f-ffb98cb44ecc","domain_id":"09638506-b696-4700-ba0b-3ed6c4fe5316","host":"shop","path":"","options":{},"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "spaces" VALUES(1,'087c9322-4003-41e9-877f-ffb98cb44ecc','54b7c733-6821-438f-91dd-222732182458','dev','dev',1835438400000000,1835438400000000,'{"id":"087c9322-4003-41e9-877f-ffb98cb44ecc","org_id":"54b7c733-6821-438f-91dd-222732182458","name":"dev","metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "tasks" VALUES(1,'474c0c95-0252-42de-9538-ceed92a53f3e','b2416599-a4e4-48f1-b942-ba09b91f4c35','474c0c95',1,'RUNNING',1835438400000000,1835438400000000,'{"id":"474c0c95-0252-42de-9538-ceed92a53f3e","app_id":"b2416599-a4e4-48f1-b942-ba09b91f4c35","sequence":1,"name":"474c0c95","command":"migrate","limits":{"memory_mib":1024,"disk_mib":1024,"log_rate_bytes_per_s":1048576},"droplet":"d70b7b90-ebe5-413d-affd-7b9a3f997fbe","environment":{"COLOUR":"red"},"state":{"state":"RUNNING"},"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
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
INSERT INTO "users" VALUES(1,'8ac80488-9999-4d10-90a3-bfb605e78ca5','admin','admin','uaa',1835438400000000,1835438400000000,'{"id":"8ac80488-9999-4d10-90a3-bfb605e78ca5","username":"admin","origin":"uaa","password_hash":"$argon2id$v=19$m=19456,t=2,p=1$KxfmcfhFi21aWTrUigM5oQ$217+XfBMzfA6qSwKoifiK+41I1YbQm6OR19iYSUMCFY","admin":true,"registered":true,"tokens_valid_from":1835438400000000,"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
INSERT INTO "users" VALUES(2,'ff298959-4048-4176-87a2-0d6478fb3936','ada','ada','uaa',1835438400000000,1835438400000000,'{"id":"ff298959-4048-4176-87a2-0d6478fb3936","username":"ada","origin":"uaa","password_hash":null,"admin":false,"registered":true,"tokens_valid_from":1835438400000000,"metadata":{"labels":{},"annotations":{}},"created_at":1835438400000000,"updated_at":1835438400000000}');
CREATE UNIQUE INDEX orgs_id_unique ON orgs (id);
CREATE UNIQUE INDEX orgs_name_lower_unique ON orgs (name_lower);
CREATE INDEX orgs_name ON orgs (name);
CREATE UNIQUE INDEX spaces_id_unique ON spaces (id);
CREATE UNIQUE INDEX spaces_org_id_name_lower_unique ON spaces (org_id, name_lower);
CREATE INDEX spaces_name ON spaces (name);
CREATE UNIQUE INDEX users_id_unique ON users (id);
CREATE UNIQUE INDEX users_username_lower_origin_unique ON users (username_lower, origin);
CREATE UNIQUE INDEX roles_id_unique ON roles (id);
CREATE UNIQUE INDEX roles_kind_user_id_scope_id_unique ON roles (kind, user_id, scope_id);
CREATE INDEX roles_user_id ON roles (user_id);
CREATE INDEX roles_org_id ON roles (org_id);
CREATE INDEX roles_space_id ON roles (space_id);
CREATE INDEX roles_scope_id ON roles (scope_id);
CREATE UNIQUE INDEX apps_id_unique ON apps (id);
CREATE UNIQUE INDEX apps_space_id_name_lower_unique ON apps (space_id, name_lower);
CREATE INDEX apps_name ON apps (name);
CREATE INDEX apps_space_id_and_name ON apps (space_id, name);
CREATE UNIQUE INDEX processes_id_unique ON processes (id);
CREATE UNIQUE INDEX processes_app_id_kind_unique ON processes (app_id, kind);
CREATE UNIQUE INDEX packages_id_unique ON packages (id);
CREATE INDEX packages_app_id ON packages (app_id);
CREATE INDEX packages_state ON packages (state);
CREATE UNIQUE INDEX builds_id_unique ON builds (id);
CREATE INDEX builds_app_id ON builds (app_id);
CREATE INDEX builds_package_id ON builds (package_id);
CREATE INDEX builds_state ON builds (state);
CREATE UNIQUE INDEX droplets_id_unique ON droplets (id);
CREATE INDEX droplets_app_id ON droplets (app_id);
CREATE INDEX droplets_package_id ON droplets (package_id);
CREATE UNIQUE INDEX buildpacks_id_unique ON buildpacks (id);
CREATE UNIQUE INDEX buildpacks_name_unique ON buildpacks (name);
CREATE UNIQUE INDEX domains_id_unique ON domains (id);
CREATE UNIQUE INDEX domains_name_unique ON domains (name);
CREATE INDEX domains_owner_id ON domains (owner_id);
CREATE UNIQUE INDEX routes_id_unique ON routes (id);
CREATE UNIQUE INDEX routes_domain_id_host_path_unique ON routes (domain_id, host, path);
CREATE INDEX routes_space_id ON routes (space_id);
CREATE UNIQUE INDEX destinations_id_unique ON destinations (id);
CREATE UNIQUE INDEX destinations_route_id_app_id_process_type_port_unique ON destinations (route_id, app_id, process_type, port);
CREATE INDEX destinations_app_id ON destinations (app_id);
CREATE UNIQUE INDEX instances_id_unique ON instances (id);
CREATE INDEX instances_app_id ON instances (app_id);
CREATE INDEX instances_process_id ON instances (process_id);
CREATE UNIQUE INDEX exits_id_unique ON exits (id);
CREATE INDEX exits_app_id ON exits (app_id);
CREATE INDEX exits_process_id ON exits (process_id);
CREATE INDEX exits_created_at ON exits (created_at);
CREATE UNIQUE INDEX jobs_id_unique ON jobs (id);
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_created_at ON jobs (created_at);
CREATE UNIQUE INDEX audit_events_id_unique ON audit_events (id);
CREATE INDEX audit_events_kind ON audit_events (kind);
CREATE INDEX audit_events_target_id ON audit_events (target_id);
CREATE INDEX audit_events_space_id ON audit_events (space_id);
CREATE INDEX audit_events_org_id ON audit_events (org_id);
CREATE INDEX audit_events_created_at ON audit_events (created_at);
CREATE UNIQUE INDEX feature_flags_id_unique ON feature_flags (id);
CREATE UNIQUE INDEX deployments_id_unique ON deployments (id);
CREATE INDEX deployments_app_id ON deployments (app_id);
CREATE INDEX deployments_state ON deployments (state);
CREATE UNIQUE INDEX generations_id_unique ON generations (id);
CREATE INDEX generations_app_id ON generations (app_id);
CREATE UNIQUE INDEX revisions_id_unique ON revisions (id);
CREATE UNIQUE INDEX revisions_app_id_version_unique ON revisions (app_id, version);
CREATE UNIQUE INDEX tasks_id_unique ON tasks (id);
CREATE UNIQUE INDEX tasks_app_id_sequence_unique ON tasks (app_id, sequence);
CREATE INDEX tasks_name ON tasks (name);
CREATE INDEX tasks_state ON tasks (state);
