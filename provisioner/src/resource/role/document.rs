//! Policy documents of IAM: those of a pod's role, and one spelling for all.
//!
//! IAM gives back what it was given, URL-encoded, and many spellings mean the same: a single string for an array, a
//! single statement for a list, any order. [`from_iam`] and the documents made here have the same spelling, so that
//! they can be compared as values.

use serde_json::{Value, json};

use crate::aws::Account;

use super::super::kms;

/// Who may take the role: the pods that an EKS Pod Identity association names. `sts:TagSession` is not optional: the
/// agent tags every session with cluster, namespace and service account.
pub(super) fn trust() -> Value {
    normal(json!({
        "Version": VERSION,
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "pods.eks.amazonaws.com" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }],
    }))
}

/// May read the named secrets of the account, and decrypt what they are encrypted with.
///
/// Secrets Manager appends a hyphen and six random characters to a secret's name in its ARN. Six question marks match
/// exactly those: `-*` would also match every secret whose name begins the same way, and the ARN itself would not
/// match a secret that is deleted and made again.
pub(super) fn secrets_read(account: &Account, reads: &[String], key: Option<&str>) -> Value {
    let arns: Vec<String> = reads
        .iter()
        .map(|name| account.arn("secretsmanager", &format!("secret:{name}-??????")))
        .collect();
    let mut statements = vec![json!({
        "Sid": "ReadSecrets",
        "Effect": "Allow",
        "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
        "Resource": arns,
    })];
    statements.extend(key.map(|key| decrypt(account, key)));
    normal(json!({ "Version": VERSION, "Statement": statements }))
}

/// May sign in to one database as one of its users. RDS's own id of the database, not its name: another one that is made
/// under the same name, or restored from a snapshot, has another id.
pub(super) fn database_connect(account: &Account, database: &str, user: &str) -> Value {
    let user = account.arn("rds-db", &format!("dbuser:{database}/{user}"));
    normal(json!({
        "Version": VERSION,
        "Statement": [{
            "Sid": "ConnectToDatabase",
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": user,
        }],
    }))
}

/// A document from IAM, in the spelling of this module; null if it is none.
pub(super) fn from_iam(encoded: &str) -> Value {
    let text = percent_decoded(encoded);
    normal(serde_json::from_str(&text).unwrap_or_default())
}

/// May decrypt with a key, but only when Secrets Manager asks on the pod's behalf.
fn decrypt(account: &Account, key: &str) -> Value {
    let suffix = match account.partition.as_str() {
        "aws-cn" => "amazonaws.com.cn",
        _ => "amazonaws.com",
    };
    let service = format!("secretsmanager.{}.{suffix}", account.region);
    let mut conditions = json!({ "StringEquals": { "kms:ViaService": service } });
    let bare = kms::bare(key);
    let resource = if bare.starts_with("alias/") {
        // An alias is no resource in a policy: it says nothing about the key it will point to tomorrow.
        conditions["ForAnyValue:StringEquals"] = json!({ "kms:ResourceAliases": bare });
        account.arn("kms", "key/*")
    } else if key.starts_with("arn:") {
        key.to_owned()
    } else {
        account.arn("kms", &format!("key/{bare}"))
    };
    json!({
        "Sid": "DecryptSecrets",
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": resource,
        "Condition": conditions,
    })
}

/// Lists where IAM takes a string or a list, sorted where order means nothing.
fn normal(mut document: Value) -> Value {
    let Some(statements) = document.get_mut("Statement") else {
        return document;
    };
    *statements = match statements.take() {
        Value::Array(statements) => statements.into_iter().map(statement).collect(),
        single => Value::Array(vec![statement(single)]),
    };
    document
}

fn statement(mut statement: Value) -> Value {
    for element in ["Action", "NotAction", "Resource", "NotResource"] {
        if let Some(value) = statement.get_mut(element) {
            *value = list(value.take());
        }
    }
    for element in ["Principal", "NotPrincipal"] {
        if let Some(Value::Object(principals)) = statement.get_mut(element) {
            for value in principals.values_mut() {
                *value = list(value.take());
            }
        }
    }
    if let Some(Value::Object(operators)) = statement.get_mut("Condition") {
        for keys in operators.values_mut().filter_map(Value::as_object_mut) {
            for value in keys.values_mut() {
                *value = list(value.take());
            }
        }
    }
    statement
}

fn list(value: Value) -> Value {
    match value {
        Value::Array(mut values) => {
            values.sort_by_key(Value::to_string);
            values.dedup();
            Value::Array(values)
        }
        single => Value::Array(vec![single]),
    }
}

/// RFC 3986: IAM encodes everything but letters, digits and `-._~`. What is no encoding stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = (first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

// The policy language's; the older one has no variables.
const VERSION: &str = "2012-10-17";
