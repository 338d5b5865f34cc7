-- What is kept of what agents say. No row here names a consumer that must be registered: the broker's policy says who may
-- speak for whom, and an agent may speak before it is registered.

-- When its agent was heard last, noted about once a minute.
ALTER TABLE consumers ADD COLUMN last_seen_at INTEGER;

-- Lists of what an agent holds that come in parts, until they are answered. `made_at` is by the agent's clock.
CREATE TABLE resync_lists (
    consumer_name TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    made_at       INTEGER NOT NULL,
    began_at      INTEGER NOT NULL,
    parts         INTEGER NOT NULL,
    bytes         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (consumer_name, id)
);

CREATE TABLE resync_parts (
    consumer_name TEXT    NOT NULL,
    list_id       TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    held          TEXT    NOT NULL,
    PRIMARY KEY (consumer_name, list_id, number),
    FOREIGN KEY (consumer_name, list_id) REFERENCES resync_lists (consumer_name, id) ON DELETE CASCADE
);

-- Works that only their agent holds and that are to be deleted there: a part of the outbox. One that is added again gets
-- another key, so that what is sent meanwhile does not remove it.
CREATE TABLE orphans (
    key           INTEGER PRIMARY KEY AUTOINCREMENT,
    consumer_name TEXT    NOT NULL,
    bundle_id     TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    deleted_here  INTEGER NOT NULL,
    UNIQUE (consumer_name, bundle_id)
);
CREATE INDEX orphans_by_consumer ON orphans (consumer_name, key);
