-- Times are microseconds since 1970 (UTC). JSON is text exactly as it goes over the wire.
-- A bundle is three rows: small state that changes at every hop, its content, and its latest status, so
-- that recording an acknowledgement never rewrites the manifests.

CREATE TABLE consumers (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    labels     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

CREATE TABLE bundles (
    key             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL UNIQUE,
    name            TEXT    NOT NULL UNIQUE,
    consumer_name   TEXT    NOT NULL REFERENCES consumers (name) ON DELETE RESTRICT,
    version         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    deleted_at      INTEGER,
    metadata        TEXT,
    -- Order of changes over all bundles: the outbox sends the oldest change first.
    changed         INTEGER NOT NULL,
    -- The newest version the broker acknowledged or the agent is known to hold.
    acked_version   INTEGER NOT NULL DEFAULT 0,
    deletion_acked  INTEGER NOT NULL DEFAULT 0,
    -- Whether the outbox holds this bundle: version > acked_version, or a deletion not acknowledged.
    unsent          INTEGER NOT NULL,
    status_sequence TEXT
);

CREATE INDEX bundles_by_consumer ON bundles (consumer_name);
CREATE INDEX bundles_by_change ON bundles (changed);
CREATE INDEX outbox ON bundles (consumer_name, changed) WHERE unsent = 1;

CREATE TABLE contents (
    bundle_key       INTEGER PRIMARY KEY REFERENCES bundles (key) ON DELETE CASCADE,
    manifests        TEXT NOT NULL,
    delete_option    TEXT,
    manifest_configs TEXT,
    executer         TEXT
);

CREATE TABLE statuses (
    bundle_key INTEGER PRIMARY KEY REFERENCES bundles (key) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    hash       TEXT,
    payload    TEXT    NOT NULL,
    metadata   TEXT,
    stored_at  INTEGER NOT NULL
);

CREATE TABLE ledger (
    bundle_key   INTEGER NOT NULL REFERENCES bundles (key) ON DELETE CASCADE,
    version      INTEGER NOT NULL,
    deletion     INTEGER NOT NULL,
    stored_at    INTEGER NOT NULL,
    published_at INTEGER,
    acked_at     INTEGER,
    matched      INTEGER,
    received_at  INTEGER,
    applied_at   INTEGER,
    reported_at  INTEGER,
    attempts     INTEGER NOT NULL DEFAULT 0,
    failed_at    INTEGER,
    failure      TEXT,
    PRIMARY KEY (bundle_key, version, deletion)
) WITHOUT ROWID;

-- What is gone, so that an id used again does not take the statuses of its earlier life for its own.
CREATE TABLE tombstones (
    bundle_id       TEXT    NOT NULL PRIMARY KEY,
    consumer_name   TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    status_sequence TEXT,
    removed_at      INTEGER NOT NULL
);
CREATE INDEX tombstones_by_age ON tombstones (removed_at);
