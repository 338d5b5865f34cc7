//! What is no database of Maestro, what runs, and rows that cannot be kept.

use std::time::Duration;

use link::error::{Hint as _, chain};
use server_bridge::import::{Import, ImportError};
use server_bridge::store::{Location, Store as _};

use crate::maestro::{ENGINES, Maestro, database};
use crate::open;

async fn refused(import: Import) -> String {
    let error: ImportError = import.run().await.unwrap_err();
    format!("{}; {}", chain(&error), error.hint().unwrap_or_default())
}

#[tokio::test]
async fn another_database_and_unknown_migrations_are_refused_by_name() {
    let maestro = Maestro::filled(3);
    let import = || maestro.import("postgres");
    maestro.sql("INSERT INTO migrations VALUES ('202701010000')");
    let said = refused(import()).await;
    assert!(
        said.contains("`202701010000` is not known") && said.contains("newer server-bridge"),
        "{said}"
    );
    maestro.sql("DELETE FROM migrations WHERE id IN ('202701010000', '202412181141')");
    let said = refused(import()).await;
    assert!(said.contains("`202412181141` is missing"), "{said}");
    // Those of September 2026 change nothing that is read.
    maestro
        .sql("INSERT INTO migrations VALUES ('202412181141'), ('202609101040'), ('202609141000')");
    maestro.sql("ALTER TABLE resources ADD COLUMN delete_retry_at timestamptz, ADD COLUMN delete_retry_delay bigint");
    assert!(import().run().await.unwrap().written);
    maestro.sql("DROP TABLE event_instances; DROP TABLE resources");
    let said = refused(import()).await;
    assert!(said.contains("there is no table `resources`"), "{said}");
}

#[tokio::test]
async fn a_maestro_that_lives_is_refused_but_for_a_look() {
    for engine in ENGINES {
        let maestro = Maestro::filled(20);
        maestro.sql("UPDATE server_instances SET last_heartbeat = now() - interval '40 seconds', ready = true");
        let said = refused(maestro.import(engine)).await;
        assert!(
            said.contains("Maestro runs: `maestro-0` was heard 4")
                && said.contains("scale Maestro to 0"),
            "{said}"
        );
        assert!(!maestro.has_store(engine));
        let mut look = maestro.import(engine);
        (look.dry_run, look.while_maestro_runs) = (true, true);
        let report = look.run().await.unwrap();
        assert_eq!(report.bundles.added, 20);
        assert!(!maestro.has_store(engine));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_counts_as_ready_and_is_heard_while_it_is_waited_for_is_alive() {
    for engine in ENGINES {
        let maestro = Maestro::filled(20);
        // Its clock is an hour behind.
        maestro.sql(
            "UPDATE server_instances SET last_heartbeat = now() - interval '1 hour', ready = true",
        );
        let mut import = maestro.import(engine);
        import.patience = Duration::from_secs(10);
        let (server, database) = (maestro.server, maestro.database.clone());
        let beat = tokio::task::spawn_blocking(move || {
            // Once the import has looked: it holds a snapshot then. Each look is a process, which is pause enough.
            let held = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'server-bridge-import' \
                AND state = 'idle in transaction' AND backend_xmin IS NOT NULL AND datname = current_database()";
            while server.sql(&database, held).unwrap() == "0" {}
            let beat = "UPDATE server_instances SET last_heartbeat = now() - interval '59 minutes'";
            server.sql(&database, beat).unwrap();
        });
        let (said, beat) = tokio::join!(refused(import.clone()), beat);
        beat.unwrap();
        assert!(said.contains("was heard while this ran"), "{said}");
        import.patience = Duration::from_millis(100);
        assert!(import.run().await.unwrap().written, "{engine}");
    }
}

#[tokio::test]
async fn agents_that_answer_another_source_are_no_agents_of_this_one() {
    for engine in ENGINES {
        let maestro = Maestro::filled(20);
        let mut import = maestro.import(engine);
        import.source = "other".parse().unwrap();
        let said = refused(import).await;
        assert!(
            said.contains("as source `maestro`") && said.contains("`--source-id maestro`"),
            "{said}"
        );
        assert!(maestro.import(engine).run().await.unwrap().written);
        // One that changed its name is told of, bundle by bundle, and these are sent again.
        maestro.sql(
            "UPDATE resources SET status = jsonb_set(status, '{originalsource}', '\"before\"'), version = version + 1 \
             WHERE id LIKE '00000001%' AND jsonb_typeof(status) = 'object'",
        );
        let report = maestro.import(engine).run().await.unwrap();
        assert_eq!(report.remarks.len(), 1, "{report:?}");
        assert!(report.remarks[0].reason.contains("`before`"), "{report:?}");
        assert_eq!(report.bundles.unsent, 1);
    }
}

#[tokio::test]
async fn rows_that_cannot_be_kept_are_named_one_by_one_and_nothing_is_written_until_that_is_decided()
 {
    for engine in ENGINES {
        let maestro = Maestro::filled(60);
        maestro.sql("SET session_replication_role = replica; \
            INSERT INTO consumers (id, name, labels) VALUES ('bad', 'Cluster_9', NULL), ('odd', 'odd', '{\"a\":1}')");
        let bad: [(&str, &str, &str); 12] = [
            ("00000000", "version = 2147483648", "version 2147483648"),
            ("00000001", "version = 0", "version 0"),
            ("00000002", "name = 'under_score'", "its name"),
            (
                "00000008",
                "consumer_name = 'gone'",
                "its consumer `gone` is not there",
            ),
            ("00000009", "consumer_name = 'Cluster_9'", "Cluster_9"),
            (
                "0000000a",
                "payload = jsonb_set(payload, '{data,manifests}', '[]')",
                "no manifests",
            ),
            (
                "0000000b",
                "payload = jsonb_set(payload, '{data,manifests,0,n}', '1e400')",
                "64-bit float",
            ),
            (
                "0000000c",
                "payload = jsonb_set(payload, '{data,manifests,0,n}', to_jsonb(repeat('y', 131072)))",
                "at most",
            ),
            ("0000000d", "source = 'a b'", "source"),
            ("0000000e", "payload = NULL", "no payload"),
            (
                "0000000f",
                "created_at = 'infinity'",
                "`created_at` is out of range",
            ),
            (
                "00000010",
                "updated_at = '294276-12-31'",
                "`updated_at` is out of range",
            ),
        ];
        for (id, change, _) in bad {
            maestro.sql(&format!(
                "SET session_replication_role = replica; UPDATE resources SET {change} WHERE id LIKE '{id}%'"
            ));
        }
        // A status that cannot be kept is no loss.
        maestro.sql("UPDATE resources SET status = jsonb_set(status, '{sequenceid}', '\"x\"') WHERE id LIKE '00000015%'");
        let report = maestro.import(engine).run().await.unwrap();
        assert!(!report.written);
        for (id, _, why) in bad {
            let items = report
                .left_out
                .iter()
                .filter(|item| item.id.starts_with(id));
            let reasons: Vec<&str> = items.map(|item| item.reason.as_str()).collect();
            assert!(
                reasons.len() == 1 && reasons[0].contains(why),
                "{engine} {id}: {reasons:?}, not {why}"
            );
        }
        let consumers = report
            .left_out
            .iter()
            .filter(|item| item.kind == "consumer");
        assert_eq!(
            consumers.map(|item| item.id.as_str()).collect::<Vec<_>>(),
            ["bad", "odd"]
        );
        assert_eq!(report.left_out.len(), 14, "{report:?}");
        assert_eq!(report.remarks.len(), 1);
        assert!(
            report.remarks[0].reason.contains("`sequenceid`"),
            "{report:?}"
        );
        let store = open(&maestro.store(engine)).await;
        assert!(store.consumer_names().await.unwrap().is_empty(), "{engine}");
        store.close().await;

        let mut import = maestro.import(engine);
        import.skip_unusable = true;
        let report = import.run().await.unwrap();
        assert!(report.written);
        assert_eq!(
            (report.bundles.added, report.left_out.len()),
            (48, 14),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_store_that_a_bridge_uses_is_refused() {
    for engine in ENGINES {
        let maestro = Maestro::filled(20);
        let store = open(&maestro.store(engine)).await;
        let mut import = maestro.import(engine);
        if let Location::Postgres(config) = &mut import.to {
            // That bridge stays: there is no end to wait for.
            config.limits.ending = Duration::ZERO;
        }
        let said = refused(import).await;
        assert!(
            said.contains("another process holds") || said.contains("is in use"),
            "{said}"
        );
        store.close().await;
        assert!(maestro.import(engine).run().await.unwrap().written);
    }
}

#[tokio::test]
async fn a_store_of_another_source_is_refused_by_a_dry_run_too() {
    for engine in ENGINES {
        let maestro = Maestro::filled(20);
        maestro.import(engine).run().await.unwrap();
        // No status says for whom Maestro spoke.
        maestro.sql("UPDATE resources SET status = NULL");
        for dry_run in [true, false] {
            let mut import = maestro.import(engine);
            (import.source, import.dry_run) = ("other".parse().unwrap(), dry_run);
            let said = refused(import).await;
            assert!(
                said.contains("is the store of source `maestro`, and this would be for `other`")
                    && said.contains("`--source-id maestro`"),
                "{said}"
            );
        }
        assert!(maestro.import(engine).run().await.unwrap().written);
    }
}

#[tokio::test]
async fn maestros_tables_are_found_behind_those_of_a_bridge() {
    let maestro = Maestro::filled(20);
    maestro.import("postgres").run().await.unwrap();
    // As for a user who is called like the schema: it comes first.
    let behind = format!(
        "{}&options=-csearch_path%3Dbridge%2Cpublic",
        maestro.url(maestro.server.port())
    );
    for engine in ENGINES {
        let mut import = maestro.import(engine);
        import.from = database(&behind, &maestro.password());
        let report = import.run().await.unwrap();
        assert_eq!((report.consumers.found, report.bundles.found), (10, 20));
    }
    let mut import = maestro.import("sqlite");
    let alone = behind.replace("%2Cpublic", "");
    import.from = database(&alone, &maestro.password());
    let said = refused(import).await;
    assert!(said.contains("is no database of Maestro"), "{said}");
}
