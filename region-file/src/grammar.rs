//! What AWS and Kubernetes take as names, ids and windows. Pure; sources are the services' API references.

/// What is wrong with a value, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) fix: String,
}

pub(super) type Checked = Result<(), Fault>;

/// Twelve digits.
pub(super) fn account(text: &str) -> Checked {
    let good = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    must(
        good,
        text,
        "no AWS account id",
        "write its 12 digits in quotes",
    )
}

/// Such as `us-gov-west-1`.
pub(super) fn region(text: &str) -> Checked {
    let parts: Vec<&str> = text.split('-').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let good = match parts.as_slice() {
        [area, places @ .., number] => {
            area.len() == 2
                && letters(area)
                && !places.is_empty()
                && places.iter().all(letters)
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    };
    must(good, text, "no AWS region", "write one such as `us-east-2`")
}

/// The base of names: it must fit into each of them.
pub(super) fn base_name(text: &str) -> Checked {
    must(
        is_kebab(text, 40),
        text,
        "no base for names",
        "write up to 40 lower-case letters, digits and single `-`, a letter first",
    )
}

/// `<prefix>-` and 8 or 17 hexadecimal digits.
pub(super) fn id(prefix: &str, text: &str) -> Checked {
    let rest = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'));
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let good = rest.is_some_and(|rest| matches!(rest.len(), 8 | 17) && rest.bytes().all(hex));
    must(
        good,
        text,
        "no such id",
        &format!("write one such as `{prefix}-0123456789abcdef0`"),
    )
}

/// `arn:aws:iam::<account>:role/<name>`; gives the account.
pub(super) fn role_arn(text: &str) -> Result<String, Fault> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "iam", "", of, rest]
            if partition.starts_with("aws")
                && account(of).is_ok()
                && rest
                    .strip_prefix("role/")
                    .is_some_and(|name| !name.is_empty()) =>
        {
            Ok((*of).to_owned())
        }
        _ => Err(fault(
            text,
            "no ARN of a role",
            "write one such as `arn:aws:iam::123456789012:role/name`",
        )),
    }
}

/// `arn:aws:kms:<region>:<account>:key/<id>`: policies of roles take no alias.
pub(super) fn kms_key(text: &str) -> Checked {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let good = matches!(parts.as_slice(), ["arn", partition, "kms", place, of, rest]
        if partition.starts_with("aws") && region(place).is_ok() && account(of).is_ok()
            && rest.strip_prefix("key/").is_some_and(|id| !id.is_empty()));
    must(
        good,
        text,
        "no ARN of a KMS key",
        "write one such as `arn:aws:kms:us-east-2:123456789012:key/ID`",
    )
}

/// An EKS cluster's name.
pub(super) fn eks_cluster(text: &str) -> Checked {
    let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 100
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    must(
        good,
        text,
        "no name of an EKS cluster",
        "write up to 100 letters, digits and `-_`, a letter or digit first",
    )
}

/// A Kubernetes namespace or service account.
pub(super) fn label(text: &str) -> Checked {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = (1..=63).contains(&text.len())
        && text.bytes().all(|b| word(b) || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    must(
        good,
        text,
        "no Kubernetes name",
        "write up to 63 lower-case letters, digits and `-`, none of them at an end",
    )
}

/// Such as `db.t4g.micro`.
pub(super) fn instance_class(text: &str) -> Checked {
    let parts: Vec<&str> = text.split('.').collect();
    let word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let good = matches!(parts.as_slice(), ["db", family, size] if word(family) && word(size));
    must(
        good,
        text,
        "no RDS instance class",
        "write one such as `db.t4g.micro`",
    )
}

/// `18` or `18.1`.
pub(super) fn engine_version(text: &str) -> Checked {
    let number = |part: &str| {
        !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())
    };
    let good = match text.split_once('.') {
        Some((major, minor)) => number(major) && number(minor),
        None => number(text),
    };
    must(
        good,
        text,
        "no version of PostgreSQL",
        "write the major version, such as \"18\"",
    )
}

/// A PostgreSQL database on RDS.
pub(super) fn database(text: &str) -> Checked {
    sql_name(text, "no name of a database", DATABASES)
}

/// A master user on RDS.
pub(super) fn user(text: &str) -> Checked {
    if text.starts_with("pg_") {
        return Err(fault(
            text,
            "PostgreSQL's own",
            "write a name without `pg_`",
        ));
    }
    sql_name(text, "no name of a master user", USERS)
}

/// What Performance Insights keeps.
pub(super) fn insights_days(days: u16) -> Checked {
    let good = matches!(days, 0 | 7 | 731) || (days.is_multiple_of(31) && days <= 713);
    must(
        good,
        &days.to_string(),
        "not what Performance Insights keeps",
        "write 0, 7, a multiple of 31 up to 713, or 731",
    )
}

/// How long a deleted secret can be restored.
pub(super) fn recovery_days(days: u8) -> Checked {
    must(
        days == 0 || (7..=30).contains(&days),
        &days.to_string(),
        "not what Secrets Manager keeps",
        "write 7 to 30, or 0 for deletion at once",
    )
}

/// Where RDS instances, IoT policies and so on differ in what they take as a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    Database,
    SubnetGroup,
    SecurityGroup,
    Secret,
    Policy,
    Thing,
    Role,
}

// === impl Named ===

impl Named {
    /// Whether a name can be given.
    pub(super) fn check(self, text: &str) -> Checked {
        let (most, extra, what) = match self {
            Self::Database => return database_instance(text),
            Self::SubnetGroup => (255, "-_. ", "DB subnet group"),
            Self::SecurityGroup => (255, " ._-:/()#,@[]+=&;{}!$*", "security group"),
            Self::Secret => (512, "/_+=.@-", "secret"),
            Self::Policy => (128, "_+=,.@-", "IoT policy"),
            Self::Thing => (128, ":_-", "IoT thing"),
            Self::Role => (64, "_+=,.@-", "IAM role"),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
        let what = format!(
            "no name of {} {what}",
            if what.starts_with('I') { "an" } else { "a" }
        );
        must(
            (1..=most).contains(&text.len()) && text.chars().all(fits),
            text,
            &what,
            &format!("write 1 to {most} letters, digits and `{extra}`"),
        )?;
        match self {
            // RDS keeps it in lower case; it would differ from the file for ever.
            Self::SubnetGroup
                if text == "default" || text.contains(|c: char| c.is_ascii_uppercase()) =>
            {
                Err(fault(
                    text,
                    &what,
                    "write it in lower case, and not `default`",
                ))
            }
            Self::SecurityGroup if text.starts_with("sg-") => Err(fault(
                text,
                &what,
                "begin it with something other than `sg-`",
            )),
            _ => Ok(()),
        }
    }
}

// Up to `most` lower-case letters, digits and single hyphens between them, a letter first.
fn is_kebab(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.ends_with('-')
        && !text.contains("--")
}

fn database_instance(text: &str) -> Checked {
    must(
        is_kebab(text, 63),
        text,
        "no identifier of an RDS instance",
        "write up to 63 lower-case letters, digits and single `-`, a letter first and no `-` last",
    )
}

fn sql_name(text: &str, what: &str, own: &[&str]) -> Checked {
    let good = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    must(
        good,
        text,
        what,
        "write up to 63 letters, digits and `_`, a letter first",
    )?;
    let lower = text.to_ascii_lowercase();
    let reserved = own.contains(&lower.as_str()) || KEYWORDS.split(' ').any(|word| word == lower);
    must(!reserved, text, "a reserved word", "write another name")
}

fn must(good: bool, text: &str, what: &str, fix: &str) -> Checked {
    if good {
        Ok(())
    } else {
        Err(fault(text, what, fix))
    }
}

pub(super) fn fault(text: &str, what: &str, fix: &str) -> Fault {
    let what = match text {
        "" => format!("is empty, {what}"),
        text => format!("is `{text}`, {what}"),
    };
    let fix = fix.to_owned();
    Fault { what, fix }
}

// What RDS for PostgreSQL keeps for itself.
const DATABASES: &[&str] = &["postgres", "rdsadmin", "template0", "template1"];
const USERS: &[&str] = &[
    "admin",
    "postgres",
    "rdsadmin",
    "rdsrepladmin",
    "rds_superuser",
];

// PostgreSQL's reserved key words (SQL key words appendix) that someone might choose.
const KEYWORDS: &str = "\
    all analyse analyze and any array as asc both case cast check collate column constraint create default desc \
    distinct do else end except false fetch for foreign from grant group having in initially intersect into \
    lateral leading limit not null offset on only or order primary references returning select some table then to \
    trailing true union unique user using variadic when where window with";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_every_partition_are_known_by_their_shape() {
        for good in ["us-east-2", "us-gov-west-1", "cn-north-1", "ap-southeast-4"] {
            assert!(region(good).is_ok(), "{good}");
        }
        for bad in ["", "us", "us-east", "us-east-2a", "US-EAST-2", "east-2"] {
            assert!(region(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_kind_has_its_own_grammar_and_length() {
        for (kind, good, bad) in [
            (Named::Database, "a-maestro", "a--maestro"),
            (Named::SubnetGroup, "a-maestro-db", "A-maestro-db"),
            (Named::SecurityGroup, "a-maestro-db", "sg-maestro"),
            (Named::Secret, "maestro/server-cert", "maestro server"),
            (Named::Policy, "a-maestro-server-policy", "a/b"),
            (Named::Thing, "a:maestro", "a.b"),
            (Named::Role, "a-maestro-server", "a/b"),
        ] {
            assert_eq!(kind.check(good), Ok(()));
            assert!(kind.check(bad).is_err(), "{bad}");
            assert!(kind.check("").is_err());
        }
        assert!(Named::Role.check(&"r".repeat(64)).is_ok());
        assert!(Named::Role.check(&"r".repeat(65)).is_err());
    }

    #[test]
    fn names_that_postgresql_or_rds_keep_are_refused() {
        for name in ["admin", "postgres", "pg_me", "user", "1st", "a-b", ""] {
            assert!(user(name).is_err(), "{name}");
        }
        assert!(user("maestro_admin").is_ok());
        assert!(database("template1").is_err());
        assert!(database("maestro").is_ok());
    }
}
