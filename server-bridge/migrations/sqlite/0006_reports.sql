-- Who published a bundle; NULL in rows of before until the bridge says for which source it speaks. And what of the event that
-- published the version `origin_version` travels again.
ALTER TABLE bundles ADD COLUMN source TEXT;
ALTER TABLE bundles ADD COLUMN origin TEXT;
ALTER TABLE bundles ADD COLUMN origin_version INTEGER;
CREATE INDEX bundles_by_source ON bundles (source);

-- The order in which statuses were taken. Numbers are never given twice, also where the last report is forgotten.
CREATE TABLE report_order (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
);
INSERT INTO report_order (id, last) VALUES (1, 0);
ALTER TABLE statuses ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;
CREATE INDEX statuses_by_report ON statuses (reported);

-- The last reports of bundles that are gone, for half an hour.
CREATE TABLE gone_reports (
    bundle_key       INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL,
    source           TEXT,
    consumer_name    TEXT    NOT NULL,
    version          INTEGER NOT NULL,
    status_sequence  TEXT,
    status_hash      TEXT,
    metadata         TEXT,
    manifests        TEXT,
    delete_option    TEXT,
    manifest_configs TEXT,
    executer         TEXT,
    payload          TEXT    NOT NULL,
    removed_at       INTEGER NOT NULL,
    reported         INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX gone_reports_by_id ON gone_reports (id);
CREATE INDEX gone_reports_by_report ON gone_reports (reported);
