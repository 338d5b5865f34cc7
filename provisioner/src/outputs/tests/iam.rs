//! What a server that signs in to the database by IAM gets.

use crate::fixture::two_clusters;
use crate::outputs::{helm, secret_provider_class, sql};

#[test]
fn a_server_that_signs_in_by_iam_gets_no_password_and_its_user_by_sql() {
    let region = two_clusters("database: {iamAuth: true}\n");
    let values = helm::tree(&helm::ServerValues::new(&region));
    assert_eq!(values["database"]["iamAuth"], true);
    assert_eq!(values["secrets"]["databaseUserKey"], "iamUsername");
    let class = secret_provider_class::server(&region);
    assert!(class.contains("{path: iamUsername, objectAlias: db.user}"));
    assert!(!class.contains("db.password"), "{class}");
    insta::assert_snapshot!(sql::iam_user(&region).unwrap(), @r#"
    -- For `maestro_admin` in the database `maestro`, once `provisioner apply` has run.
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'maestro_iam') THEN
        CREATE ROLE "maestro_iam" LOGIN;
      END IF;
    END $$;
    GRANT CREATE ON DATABASE "maestro" TO "maestro_iam";
    GRANT rds_iam TO "maestro_iam";
    -- Only where `maestro_admin` made the tables already; see "Credentials of the database" in docs/OPERATIONS.md:
    -- GRANT "maestro_admin" TO "maestro_iam";
    "#);

    for without in ["", "database: {iamAuth: false}\n"] {
        let region = two_clusters(without);
        assert_eq!(sql::iam_user(&region), None);
        let values = helm::tree(&helm::ServerValues::new(&region));
        assert!(values["database"]["iamAuth"].is_null());
        assert!(values["secrets"]["databaseUserKey"].is_null());
    }
    // A file signs in to nothing.
    let file = two_clusters("server: {store: sqlite}\ndatabase: {iamAuth: true}\n");
    let values = helm::tree(&helm::ServerValues::new(&file));
    assert!(values["database"].is_null() && values["secrets"]["databaseUserKey"].is_null());
}
