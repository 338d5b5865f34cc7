-- For which source the bridge on this file speaks, as in PostgreSQL: copies and imports look whose the bundles are.
CREATE TABLE installation (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    source TEXT NOT NULL
);
