-- Deployments whose requests are still being counted are found by this.

ALTER TABLE deployments ADD COLUMN is_cost_due BIGINT;
CREATE INDEX deployments_is_cost_due ON deployments (is_cost_due);
