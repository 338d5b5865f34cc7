//! Replicas, their slots, and the connections they take.

use super::*;

#[test]
fn replicas_have_slots_to_spare_and_a_file_has_one_without() {
    let ids = |more: &str| {
        region(&format!("server: {more}\n"))
            .server
            .party
            .client_ids()
    };
    assert_eq!(ids("{}").len(), 8);
    assert_eq!(ids("{replicas: 16, connections: 2}").len(), 64);
    assert_eq!(ids("{replicas: 4, slots: 5}").len(), 5);
    assert_eq!(ids("{}")[7].as_str(), "regional-x8k2-maestro-server-7");

    let file = region("server: {store: sqlite}\n");
    assert_eq!(file.server.replicas, 1);
    assert_eq!(file.scheme, Scheme::default());
    let ids = file.server.party.client_ids();
    assert_eq!(ids[0].as_str(), "regional-x8k2-maestro-server");
}

#[test]
fn more_connections_than_the_database_admits_are_warned_of_with_the_numbers() {
    let warned = |more: &str| {
        let warnings = region(more).warnings();
        let of_replicas = warnings.iter().find(|it| it.field == "server.replicas");
        of_replicas.map(ToString::to_string)
    };
    assert_eq!(warned("server: {replicas: 7}\n"), None);
    let said = warned("server: {replicas: 16}\n").unwrap();
    insta::assert_snapshot!(said, @"server.replicas: is 16: with 4 connections and a listener each, twice during a rollout, they take 160, but `db.t4g.micro` admits about 80 and leaves 70; write a larger `database.instanceClass`, or fewer replicas");
    let larger = "server: {replicas: 16}\ndatabase: {instanceClass: db.t4g.medium}\n";
    assert_eq!(warned(larger), None);
    assert_eq!(warned("server: {replicas: 1, store: sqlite}\n"), None);
}

#[test]
fn a_class_whose_connections_are_not_known_is_warned_of() {
    let warned = |more: &str| {
        let warnings = region(more).warnings();
        let of_class = warnings
            .iter()
            .find(|it| it.field == "database.instanceClass");
        of_class.map(ToString::to_string)
    };
    let class = "database: {instanceClass: db.x2g.large}\n";
    let said = warned(class).unwrap();
    insta::assert_snapshot!(said, @"database.instanceClass: is `db.x2g.large`: how many connections it admits is not known here; during a rollout the replicas take 36; check `SHOW max_connections`, and write fewer replicas if it is not well above that");
    assert_eq!(warned(&format!("server: {{store: sqlite}}\n{class}")), None);
}
