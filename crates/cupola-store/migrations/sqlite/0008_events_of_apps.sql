-- Events about something else of an app than itself, a binding of it, are found by the app too.
ALTER TABLE audit_events ADD COLUMN app_id TEXT;
CREATE INDEX audit_events_app_id ON audit_events (app_id);
