//! Quantities by hand, unknown prices told as such, and the table.

use std::path::Path;

use super::*;
use crate::fixture::{CLUSTERS, LEAST};

fn region(more: &str) -> Region {
    let text = LEAST.replace("us-east-2", "us-east-1");
    Region::parse(&format!("{text}{CLUSTERS}{more}"), Path::new("")).unwrap()
}

fn line<'a>(estimate: &'a Estimate, what: &str) -> &'a Line {
    estimate
        .lines
        .iter()
        .find(|line| line.what.starts_with(what))
        .unwrap()
}

#[test]
fn the_first_deployment_costs_this_much() {
    let estimate = estimate(&region(""), &Load::default(), &Prices::built_in().unwrap());
    insta::assert_snapshot!(estimate, @r#"
         0.01  IoT Core: connections of the server (2) and agents (2)                              0.17 million minutes
         0.26  IoT Core: messages of 100 works                                                     0.26 million messages of 5 KB
        11.52  RDS: db.t4g.micro in one zone                                                       720.00 hours
         2.30  RDS: gp3 storage in one zone                                                        20.00 GiB
         1.60  Secrets Manager: secrets of the server                                              4.00 secrets
         0.35  Secrets Manager: looks of the CSI driver, the server                                6.91 10,000 calls
         1.60  Secrets Manager: secrets of 2 agents in us-east-1, in their accounts                4.00 secrets
         0.17  Secrets Manager: looks of the CSI driver, 2 agents in us-east-1, in their accounts  3.46 10,000 calls
        17.81  USD a month in us-east-1
    list prices as seen in June 2026, not fetched; check them at aws.amazon.com/pricing
    automatic backups (7 days) cost nothing up to the size of the database's storage, beyond it by the GiB
    "#);
    assert_eq!(estimate.unknown, Vec::<String>::new());
    let sum: f64 = estimate.lines.iter().filter_map(|line| line.monthly).sum();
    assert!((estimate.total.unwrap() - sum).abs() < 0.005);
}

#[test]
fn messages_are_metered_in_units_of_5_kb_with_the_acknowledgement() {
    // 100 works, one change of 3 units in, 3 out and 1 acknowledgement, and 2 changes of status of 3 units.
    let load = Load {
        works_per_cluster: 50,
        manifest_bytes: 10_000,
        changes_per_day: 1,
        status_per_day: 2,
    };
    let estimate = estimate(&region(""), &load, &Prices::built_in().unwrap());
    let messages = line(&estimate, "IoT Core: messages of 100 works");
    assert!((messages.quantity - f64::from(100 * 30 * (7 + 6)) / 1e6).abs() < 1e-9);
    assert_eq!(units(100), 3);
    assert_eq!(units(4_400), 3);
    assert_eq!(units(4_401), 5);
}

#[test]
fn a_second_zone_doubles_instance_and_storage() {
    let prices = Prices::built_in().unwrap();
    let one = estimate(&region(""), &Load::default(), &prices);
    let two = estimate(
        &region("database: {multiAz: true}\n"),
        &Load::default(),
        &prices,
    );
    for what in ["RDS: db.t4g.micro", "RDS: gp3"] {
        assert_eq!(
            line(&two, what).monthly.unwrap(),
            2.0 * line(&one, what).monthly.unwrap()
        );
    }
}

#[test]
fn what_has_no_price_is_unknown_and_no_part_of_the_total() {
    let prices = Prices::built_in().unwrap();
    let class = estimate(
        &region("database: {instanceClass: db.x2g.large}\n"),
        &Load::default(),
        &prices,
    );
    assert_eq!(class.unknown, ["RDS: db.x2g.large in one zone"]);
    assert!(
        class
            .to_string()
            .contains("USD a month in us-east-1 at least; unknown: 1 of 8 prices"),
        "{class}"
    );

    let elsewhere = crate::fixture::two_clusters("");
    let elsewhere = estimate(&elsewhere, &Load::default(), &prices);
    assert_eq!(elsewhere.total, None);
    assert_eq!(elsewhere.unknown.len(), elsewhere.lines.len());
    let text = elsewhere.to_string();
    assert!(
        text.contains("unknown  USD a month in us-east-2: no price is known"),
        "{text}"
    );
    let zero = |line: &str| line.trim_start().starts_with("0.00");
    assert!(!text.lines().any(zero), "{text}");
    assert!(text.contains("`--price-list`"), "{text}");
    let json = serde_json::to_value(&elsewhere).unwrap();
    assert!(json["lines"][0]["monthly"].is_null() && json["total"].is_null());
}

#[test]
fn another_file_of_prices_stands_in() {
    let other = "seen: today\nsource: mine\nregions:\n  us-east-2:\n    rds: {classes: {db.t4g.micro: 1}}\n";
    let prices = Prices::built_in()
        .unwrap()
        .with(Prices::parse(other).unwrap());
    let estimate = estimate(&crate::fixture::two_clusters(""), &Load::default(), &prices);
    assert_eq!(estimate.total, Some(720.0));
    assert_eq!(estimate.source, "mine");
    assert!(Prices::parse("seen: x\nsource: y\nregions: {a: {iot: {minutes: 1}}}\n").is_err());
    let negative =
        Prices::parse("seen: x\nsource: y\nregions: {a: {iot: {messages: -1}}}\n").unwrap_err();
    assert_eq!(negative.to_string(), "read prices: a has a price of -1");
}

#[test]
fn prices_of_the_price_list_go_before_the_built_in_ones_and_leave_the_others() {
    let newer = RegionPrices {
        secrets: SecretsPrices {
            secret: Some(0.5),
            calls: None,
        },
        ..RegionPrices::default()
    };
    let prices = Prices::built_in().unwrap().with_region("us-east-1", newer);
    let estimate = estimate(&region(""), &Load::default(), &prices);
    assert_eq!(
        line(&estimate, "Secrets Manager: secrets of the server").price,
        Some(0.5)
    );
    assert_eq!(line(&estimate, "Secrets Manager: looks").price, Some(0.05));
    assert_eq!(line(&estimate, "RDS: gp3").price, Some(0.115));
}
