-- Run with the bridge's schema first on the search path. Times are microseconds since 1970 (UTC), as callers give them.
-- JSON is TEXT exactly as it goes over the wire: `jsonb` would change numbers and refuse \u0000. What searches look at is
-- kept beside it as `search` (jsonb made from the text: labels, and the members of the metadata that can be searched).
-- Text is compared by its bytes (COLLATE "C"), whatever the database's locale, so that orders and patterns are the same
-- everywhere.
--
-- A bundle is three rows: small state that changes at every hop, its content, and its latest status, so that recording an
-- acknowledgement never rewrites the manifests. Whoever decides about a bundle locks its row of `bundles` first, several
-- of them in the order of `key`, and only then touches rows of the other tables: that keeps deadlocks away.

CREATE TABLE consumers (
    key        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    id         text COLLATE "C" NOT NULL CONSTRAINT consumers_pkey PRIMARY KEY,
    name       text COLLATE "C" NOT NULL CONSTRAINT consumers_name_key UNIQUE,
    labels     text   NOT NULL,
    search     jsonb  NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);

-- Order of changes over all bundles: the outbox sends the oldest change first.
CREATE SEQUENCE changes;

CREATE TABLE bundles (
    key             bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT bundles_pkey PRIMARY KEY,
    -- Rules are looked at in this order: of a bundle whose name and id are both taken, the name is said.
    name            text COLLATE "C" NOT NULL CONSTRAINT bundles_name_key UNIQUE,
    id              text COLLATE "C" NOT NULL CONSTRAINT bundles_id_key UNIQUE,
    consumer_name   text COLLATE "C" NOT NULL
                    CONSTRAINT bundles_consumer_name_fkey REFERENCES consumers (name) ON DELETE RESTRICT,
    version         bigint  NOT NULL,
    created_at      bigint  NOT NULL,
    updated_at      bigint  NOT NULL,
    deleted_at      bigint,
    metadata        text,
    search          jsonb,
    changed         bigint  NOT NULL DEFAULT nextval('changes'),
    -- The newest version the broker acknowledged or the agent is known to hold.
    acked_version   bigint  NOT NULL DEFAULT 0,
    deletion_acked  boolean NOT NULL DEFAULT false,
    -- Whether the outbox holds this bundle: version > acked_version, or a deletion not acknowledged.
    unsent          boolean NOT NULL DEFAULT true,
    -- Of the latest status: its place in the agent's order, the version it describes, its hash, when it was taken.
    status_sequence text,
    status_version  bigint,
    status_hash     text,
    status_taken_at bigint
) WITH (fillfactor = 80);

CREATE INDEX bundles_by_consumer ON bundles (consumer_name, key);
CREATE INDEX outbox ON bundles (consumer_name, changed) WHERE unsent;

CREATE TABLE contents (
    bundle_key       bigint CONSTRAINT contents_pkey PRIMARY KEY REFERENCES bundles (key) ON DELETE CASCADE,
    manifests        text NOT NULL,
    delete_option    text,
    manifest_configs text,
    executer         text
);

CREATE TABLE statuses (
    bundle_key bigint CONSTRAINT statuses_pkey PRIMARY KEY REFERENCES bundles (key) ON DELETE CASCADE,
    payload    text NOT NULL,
    metadata   text
);

CREATE TABLE ledger (
    bundle_key   bigint  NOT NULL REFERENCES bundles (key) ON DELETE CASCADE,
    version      bigint  NOT NULL,
    deletion     boolean NOT NULL,
    stored_at    bigint  NOT NULL,
    published_at bigint,
    acked_at     bigint,
    matched      boolean,
    received_at  bigint,
    applied_at   bigint,
    reported_at  bigint,
    attempts     bigint  NOT NULL DEFAULT 0,
    failed_at    bigint,
    failure      text,
    CONSTRAINT ledger_pkey PRIMARY KEY (bundle_key, version, deletion)
) WITH (fillfactor = 80);

-- What is gone, so that an id used again does not take the statuses of its earlier life for its own. One used again for
-- another consumer does not make the former one's deletion forgotten.
CREATE TABLE tombstones (
    bundle_id       text COLLATE "C" NOT NULL,
    consumer_name   text COLLATE "C" NOT NULL,
    version         bigint NOT NULL,
    status_sequence text,
    removed_at      bigint NOT NULL,
    CONSTRAINT tombstones_pkey PRIMARY KEY (bundle_id, consumer_name)
);
CREATE INDEX tombstones_by_age ON tombstones (removed_at);

-- One row that readiness checks write and read back. `filler` is as large as the largest bundle while a check asks whether
-- there is room again, and empty otherwise; stored as it is, because compressed it would find room anywhere.
CREATE TABLE heartbeat (
    id     bigint CONSTRAINT heartbeat_pkey PRIMARY KEY CHECK (id = 1),
    beats  bigint NOT NULL,
    filler text
);
ALTER TABLE heartbeat ALTER COLUMN filler SET STORAGE EXTERNAL;
INSERT INTO heartbeat (id, beats) VALUES (1, 0);

-- Which bridges may use these tables: those that know at least this change. A change that older bridges can live with
-- leaves it alone (expand); one that takes away what they use raises it (contract).
CREATE TABLE compatibility (
    id     bigint CONSTRAINT compatibility_pkey PRIMARY KEY CHECK (id = 1),
    oldest bigint NOT NULL
);
INSERT INTO compatibility (id, oldest) VALUES (1, 1);
