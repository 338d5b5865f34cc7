//! A database as Maestro lays it out (docs/MAESTRO.md §5.5): gorm's names and types, and rows made by the server itself.

use std::path::{Path, PathBuf};

use server_bridge::import::{Database, Import};
use server_bridge::store::Location;
use server_bridge::store::postgres::{CredentialFiles, PostgresConfig, TlsMode};
use tempfile::TempDir;

#[expect(unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/ports.rs"]
mod ports;
#[expect(dead_code, unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/postgres.rs"]
mod server;

pub(crate) use server::{Server, USER};

/// Maestro's database, and where to import it.
pub(crate) struct Maestro {
    pub(crate) server: &'static Server,
    pub(crate) database: String,
    directory: TempDir,
}

/// The engines.
pub(crate) const ENGINES: [&str; 2] = ["sqlite", "postgres"];

// === impl Maestro ===

impl Maestro {
    /// Empty, but for its migrations.
    pub(crate) fn new() -> Self {
        let server = Server::shared();
        let maestro = Self {
            server,
            database: server.database().unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        server
            .mount(maestro.directory.path(), &maestro.database)
            .unwrap();
        maestro.sql(TABLES);
        for id in MIGRATIONS {
            maestro.sql(&format!("INSERT INTO migrations VALUES ('{id}')"));
        }
        maestro
    }

    /// With consumers and bundles in every state: confirmed, without a status, reported in an older version, being
    /// deleted.
    pub(crate) fn filled(bundles: u32) -> Self {
        let maestro = Self::new();
        maestro.sql(CONSUMERS);
        maestro.sql(&BUNDLES.replace("COUNT", &bundles.to_string()));
        maestro
    }

    pub(crate) fn sql(&self, text: &str) -> String {
        self.server.sql(&self.database, text).unwrap()
    }

    /// Lines of text.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.sql(text).lines().map(str::to_owned).collect()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn password(&self) -> PathBuf {
        self.file("db.password")
    }

    pub(crate) fn url(&self, port: u16) -> String {
        format!(
            "postgres://{USER}@127.0.0.1:{port}/{}?sslmode=disable",
            self.database
        )
    }

    /// A store that nobody has yet: a file, or a schema in Maestro's own database.
    pub(crate) fn store(&self, engine: &str) -> Location {
        match engine {
            "sqlite" => Location::Sqlite(self.file("bridge.db")),
            _ => {
                let files = CredentialFiles::mounted(self.directory.path());
                let mut config = PostgresConfig::new(files);
                config.tls = TlsMode::Disable;
                Location::Postgres(Box::new(config))
            }
        }
    }

    /// Whether something is in the store's place.
    pub(crate) fn has_store(&self, engine: &str) -> bool {
        match engine {
            "sqlite" => self.file("bridge.db").exists(),
            _ => self.sql("SELECT to_regnamespace('bridge') IS NOT NULL") == "t",
        }
    }

    pub(crate) fn import(&self, engine: &str) -> Import {
        Import {
            from: database(&self.url(self.server.port()), &self.password()),
            to: self.store(engine),
            source: "maestro".parse().unwrap(),
            dry_run: false,
            while_maestro_runs: false,
            skip_unusable: false,
            patience: std::time::Duration::ZERO,
        }
    }
}

pub(crate) fn database(url: &str, password: &Path) -> Database {
    Database::new(url, Some(password)).unwrap()
}

const MIGRATIONS: [&str; 10] = [
    "201911212019",
    "202309020925",
    "202311151850",
    "202311151856",
    "202311151859",
    "202401151014",
    "202406241426",
    "202406241506",
    "202412171429",
    "202412181141",
];

const TABLES: &str = r#"
CREATE TABLE migrations (id varchar(255) PRIMARY KEY);
CREATE TABLE consumers (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    name text NOT NULL, labels jsonb);
CREATE UNIQUE INDEX idx_consumers_name ON consumers (name);
CREATE INDEX idx_consumers_deleted_at ON consumers (deleted_at);
CREATE TABLE resources (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    source text, consumer_name text, version bigint NOT NULL, type text, payload jsonb, status jsonb, name text NOT NULL,
    CONSTRAINT fk_resources_consumers FOREIGN KEY (consumer_name) REFERENCES consumers (name)
        ON UPDATE RESTRICT ON DELETE RESTRICT);
CREATE UNIQUE INDEX idx_resources_name ON resources (name);
CREATE INDEX idx_resources_source ON resources (source);
CREATE INDEX idx_resources_consumer_name ON resources (consumer_name);
CREATE INDEX idx_resources_type ON resources (type);
CREATE INDEX idx_resources_deleted_at ON resources (deleted_at);
CREATE TABLE events (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    source text, source_id text, event_type text, reconciled_date timestamptz);
CREATE TABLE status_events (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    resource_id text, resource_source text, resource_type text, payload jsonb, status jsonb, status_event_type text,
    reconciled_date timestamptz);
CREATE TABLE server_instances (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz,
    deleted_at timestamptz, last_heartbeat timestamptz, ready boolean DEFAULT false);
CREATE TABLE event_instances (
    event_id text REFERENCES status_events (id) ON DELETE CASCADE,
    instance_id text REFERENCES server_instances (id) ON DELETE CASCADE,
    spec_event_id text REFERENCES events (id) ON DELETE CASCADE);
INSERT INTO server_instances VALUES ('maestro-0', now() - interval '1 day', now() - interval '1 day', NULL,
    now() - interval '10 minutes', false);
"#;

const CONSUMERS: &str = r#"
INSERT INTO consumers SELECT format('c0000000-0000-4000-8000-%s', lpad(n::text, 12, '0')), now() - interval '3 days',
    now() - interval '2 days', NULL, 'cluster' || n,
    CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN 'null' ELSE jsonb_build_object('region', 'r' || n) END
FROM generate_series(0, 9) n;
"#;

// Of twenty: one is being deleted, two have no status (SQL's null and JSON's), two report on an older version.
const BUNDLES: &str = r#"
INSERT INTO resources (id, created_at, updated_at, deleted_at, source, consumer_name, version, type, payload, status, name)
SELECT id, made, made + interval '1 hour', CASE WHEN n % 20 = 7 THEN made + interval '2 hours' END,
    'source' || n % 2, consumer, version, '', jsonb_build_object(
        'specversion', '1.0', 'id', md5(id)::uuid, 'source', 'source' || n % 2,
        'type', 'io.open-cluster-management.works.v1alpha1.manifestbundles.spec.create_request',
        'time', '2026-11-01T10:00:00.123456789Z', 'datacontenttype', 'application/json', 'clustername', consumer,
        'originalsource', '', 'resourceid', id, 'resourceversion', version - 1,
        'logtracing', '{"logging.open-cluster-management.io/op-id":"op"}',
        'metadata', jsonb_build_object('name', 'work' || n, 'namespace', consumer,
            'labels', jsonb_build_object('app.kubernetes.io/name', 'w' || n % 3)),
        'data', jsonb_build_object(
            'manifests', jsonb_build_array(jsonb_build_object('apiVersion', 'v1', 'kind', 'ConfigMap',
                'metadata', jsonb_build_object('name', 'cm' || n, 'namespace', 'default'),
                'data', jsonb_build_object('filler', repeat('x', 400), 'html', '<a&b>'),
                'numbers', '[1.0, 2.50, 12345678901234567890123, 1e21]'::jsonb)),
            'executer', '{"subject":{"type":"ServiceAccount","serviceAccount":{"namespace":"n","name":"s"}}}'::jsonb)),
    CASE WHEN n % 20 = 3 THEN NULL WHEN n % 20 = 4 THEN 'null'::jsonb ELSE jsonb_build_object(
        'specversion', '1.0', 'id', md5('s' || id)::uuid, 'source', consumer || '-work-agent',
        'type', 'io.open-cluster-management.works.v1alpha1.manifestbundles.status.update_request',
        'time', '2026-11-01T11:00:00Z', 'datacontenttype', 'application/json', 'clustername', consumer,
        'originalsource', 'maestro', 'resourceid', id, 'resourceversion', told::text,
        'sequenceid', (((extract(epoch FROM made) * 1000)::bigint - 1288834974657) << 22 | 4096)::text,
        'statushash', encode(sha256(id::bytea), 'hex'), 'logtracing', '{}',
        'metadata', jsonb_build_object('name', 'work' || n),
        'data', jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('type', 'Applied', 'status', 'True',
            'observedGeneration', told, 'lastTransitionTime', '2026-11-01T10:59:00Z', 'reason', 'AppliedManifestWorkComplete',
            'message', 'Apply manifest work complete')), 'resourceStatus', '[]'::jsonb)) END,
    CASE WHEN n % 3 = 0 THEN id ELSE 'name-' || n END
FROM (SELECT n, lpad(to_hex(n), 8, '0') || '-0000-4000-8000-000000000000' AS id, 'cluster' || n % 10 AS consumer,
    2 + n % 4 AS version, CASE WHEN n % 20 IN (5, 6) THEN 1 + n % 4 ELSE 2 + n % 4 END AS told,
    '2026-11-01 09:00:00.000001+00'::timestamptz + n * interval '1 second' AS made
    FROM generate_series(0, COUNT - 1) n) rows;
"#;
