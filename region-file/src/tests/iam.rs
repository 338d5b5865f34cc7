//! The server's sign-in to the database by IAM.

use super::*;

#[test]
fn the_server_signs_in_by_iam_only_where_the_file_says_so_and_never_as_the_master_user() {
    let of = |more: &str| {
        let database = region(more).database;
        (database.iam_auth, database.iam_user)
    };
    assert_eq!(of(""), (None, None));
    assert_eq!(of("database: {iamAuth: false}\n"), (Some(false), None));
    let user = |name: &str| (Some(true), Some(name.to_owned()));
    assert_eq!(of("database: {iamAuth: true}\n"), user("maestro_iam"));
    let named = "database: {iamAuth: true, iamUser: bridge}\n";
    assert_eq!(of(named), user("bridge"));

    for (wrong, why) in [
        ("{iamAuth: true, iamUser: maestro_admin}", "the master user"),
        ("{iamAuth: true, iamUser: pg_x}", "PostgreSQL's own"),
        ("{iamUser: bridge}", "`database.iamAuth` is not true"),
    ] {
        let problems = refused(&format!("{LEAST}database: {wrong}\n"));
        assert!(problems.about("database.iamUser"), "{problems}");
        assert!(problems.to_string().contains(why), "{problems}");
    }
}
