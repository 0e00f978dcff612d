-- Domains of one organisation that others may use too: their ids, separated by blanks.
ALTER TABLE domains ADD COLUMN shared_with TEXT COLLATE "C";
