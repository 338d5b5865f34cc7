-- An id may be used again for another consumer: what the former one deleted is remembered beside it.

CREATE TABLE tombstones_of_consumers (
    bundle_id       TEXT    NOT NULL,
    consumer_name   TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    status_sequence TEXT,
    removed_at      INTEGER NOT NULL,
    PRIMARY KEY (bundle_id, consumer_name)
);
INSERT INTO tombstones_of_consumers SELECT bundle_id, consumer_name, version, status_sequence, removed_at FROM tombstones;
DROP TABLE tombstones;
ALTER TABLE tombstones_of_consumers RENAME TO tombstones;
CREATE INDEX tombstones_by_age ON tombstones (removed_at);
