//! Files that cannot be read or mean something else than they say.

use std::fs;

use link::error::Hint as _;

use super::*;

#[test]
fn an_own_ca_is_read_beside_the_file_and_never_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let put = |text: &str| fs::write(directory.path().join("ca.pem"), text).unwrap();
    let file = directory.path().join("region.yaml");
    fs::write(&file, format!("{LEAST}broker: {{ca: ca.pem}}\n")).unwrap();
    put("-----BEGIN CERTIFICATE-----\n");
    assert_eq!(
        Region::read(&file).unwrap().broker.ca,
        "-----BEGIN CERTIFICATE-----\n"
    );
    put("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n");
    let problems = Region::read(&file).unwrap_err();
    assert!(problems.about("broker.ca"), "{problems}");
    assert!(!problems.to_string().contains("c2Vj"));
    let missing = Region::read(&directory.path().join("no.yaml")).unwrap_err();
    let text = missing.to_string();
    assert!(text.ends_with("no.yaml`: there is no such file"), "{text}");
    assert!(missing.hint().unwrap().contains("`--file`"));
    let directory = Region::read(directory.path()).unwrap_err().to_string();
    assert!(directory.ends_with("it is a directory"), "{directory}");
}

#[test]
fn a_file_without_end_is_cut_off() {
    let endless = Region::read(Path::new("/dev/zero")).unwrap_err();
    let text = endless.to_string();
    assert!(text.ends_with("it is larger than 4 MiB"), "{text}");
    assert!(endless.hint().unwrap().contains("`--file`"));
}

#[test]
fn an_account_whose_leading_zero_yaml_dropped_is_refused_with_what_to_write() {
    let text = least_with("\"111111111111\"", "012345678901");
    let problems = refused(&text);
    assert!(problems.about("account"), "{problems}");
    let fix = &problems.problems[0].fix;
    assert!(fix.contains("`\"012345678901\"`"), "{problems}");
}
