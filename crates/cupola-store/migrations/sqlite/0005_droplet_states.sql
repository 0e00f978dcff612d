-- Droplets can be uploaded, so that not every one is staged.
ALTER TABLE droplets ADD COLUMN state TEXT;
UPDATE droplets SET state = 'STAGED';
CREATE INDEX droplets_state ON droplets (state);
