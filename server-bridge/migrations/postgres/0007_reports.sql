-- Who published a bundle, and what of its publication travels again. Rows of before, and those that a bridge of the version
-- before adds, are the source's for which the bridges on these tables speak (`installation`); NULL while they speak for none.
DO $$
BEGIN
    EXECUTE format('ALTER TABLE bundles ADD COLUMN source text COLLATE "C" DEFAULT %L', (SELECT source FROM installation));
END $$;
ALTER TABLE bundles ALTER COLUMN source DROP DEFAULT;
CREATE INDEX bundles_by_source ON bundles (source, key);

-- `origin` belongs to the version `origin_version`: one that a bridge of the version before makes has none.
ALTER TABLE bundles ADD COLUMN origin text, ADD COLUMN origin_version bigint;

-- Names of tables are looked up in the schema of the trigger's own, whoever writes from wherever.
CREATE FUNCTION own_source() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT source FROM %I.installation', TG_TABLE_SCHEMA) INTO NEW.source;
    RETURN NEW;
END $$;
CREATE TRIGGER own_source BEFORE INSERT ON bundles FOR EACH ROW WHEN (NEW.source IS NULL) EXECUTE FUNCTION own_source();

-- Which transaction wrote a status: readers who remember a snapshot of the server find all that was committed since, however
-- late. It is kept here and not in `bundles`: there one more index that changes with each status would end updates in place
-- (HOT), and so cost an entry in every other index.
ALTER TABLE statuses ADD COLUMN reported_in xid8;
CREATE INDEX statuses_by_report ON statuses (reported_in, bundle_key);
CREATE FUNCTION stamp_report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.reported_in := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER stamp_report BEFORE INSERT OR UPDATE ON statuses FOR EACH ROW EXECUTE FUNCTION stamp_report();

-- The last reports of bundles that are gone, for half an hour.
CREATE TABLE gone_reports (
    bundle_key       bigint CONSTRAINT gone_reports_pkey PRIMARY KEY,
    id               text COLLATE "C" NOT NULL,
    source           text COLLATE "C",
    consumer_name    text COLLATE "C" NOT NULL,
    version          bigint NOT NULL,
    status_sequence  text,
    status_hash      text,
    metadata         text,
    manifests        text,
    delete_option    text,
    manifest_configs text,
    executer         text,
    payload          text   NOT NULL,
    removed_at       bigint NOT NULL,
    reported_in      xid8   NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX gone_reports_by_id ON gone_reports (id);
CREATE INDEX gone_reports_by_report ON gone_reports (reported_in, bundle_key);

-- What a bridge of the version before removes leaves one too. A bridge that knows this table has written it already. Without
-- a question for its deletion, or with its content gone before it, a bundle goes with its consumer.
CREATE FUNCTION leave_report() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    EXECUTE format(
        'INSERT INTO %1$I.gone_reports (bundle_key, id, source, consumer_name, version, status_sequence, status_hash, metadata, '
        'manifests, delete_option, manifest_configs, executer, payload, removed_at) '
        'SELECT ($1).key, ($1).id, ($1).source, ($1).consumer_name, ($1).version, ($1).status_sequence, ($1).status_hash, '
        '($1).metadata, c.manifests, c.delete_option, c.manifest_configs, c.executer, '
        'CASE WHEN ($1).deleted_at IS NULL OR c.bundle_key IS NULL THEN $3 ELSE $2 END, $4 '
        'FROM (SELECT 1) AS one LEFT JOIN %1$I.contents c ON c.bundle_key = ($1).key ON CONFLICT DO NOTHING',
        TG_TABLE_SCHEMA)
    USING OLD,
        json_build_object('conditions', json_build_array(json_build_object('type', 'Deleted', 'status', 'True',
            'lastTransitionTime', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'reason', 'ManifestsDeleted',
            'message', 'The manifests are deleted from the cluster ' || OLD.consumer_name)),
            'resourceStatus', json_build_array())::text,
        json_build_object('conditions', json_build_array(json_build_object('type', 'Deleted', 'status', 'True',
            'lastTransitionTime', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'reason', 'ConsumerRemoved',
            'message', 'The consumer was removed with its bundles; what was applied on its cluster may remain there')),
            'resourceStatus', json_build_array())::text,
        (extract(epoch FROM at) * 1000000)::bigint;
    RETURN OLD;
END $$;
CREATE TRIGGER leave_report BEFORE DELETE ON bundles FOR EACH ROW EXECUTE FUNCTION leave_report();
