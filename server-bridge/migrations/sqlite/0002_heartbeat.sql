-- One row that the readiness check writes and reads back: what is proved is a write, not a read. `filler` is as large as
-- the largest bundle while the check asks whether there is room again, and empty otherwise.

CREATE TABLE heartbeat (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    beats  INTEGER NOT NULL,
    filler BLOB
);

INSERT INTO heartbeat (id, beats) VALUES (1, 0);
