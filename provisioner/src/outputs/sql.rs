//! What RDS alone can do for a server that signs in by IAM: its user. AWS has no call that makes one.

use region_file::Region;

/// SQL that makes the user of `database.iamAuth`, for the master user; running it again changes nothing. None where the
/// server does not sign in by IAM.
///
/// The user makes the tables when the first server starts, and owns them. Nothing is granted to the master user: RDS takes
/// no password of who is a member of `rds_iam`, and membership is inherited.
pub fn iam_user(region: &Region) -> Option<String> {
    let database = &region.database;
    let user = database.iam_user.as_ref()?;
    // Their grammar has no quotes.
    let (name, master) = (&database.database, &database.user);
    Some(format!(
        "-- For `{master}` in the database `{name}`, once `provisioner apply` has run.\n\
         DO $$ BEGIN\n  \
         IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') THEN\n    \
         CREATE ROLE \"{user}\" LOGIN;\n  \
         END IF;\n\
         END $$;\n\
         GRANT CREATE ON DATABASE \"{name}\" TO \"{user}\";\n\
         GRANT rds_iam TO \"{user}\";\n\
         -- Only where `{master}` made the tables already; see \"Credentials of the database\" in docs/OPERATIONS.md:\n\
         -- GRANT \"{master}\" TO \"{user}\";\n"
    ))
}
