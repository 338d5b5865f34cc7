use std::sync::atomic::{AtomicU32, Ordering};

use aws_credential_types::provider::{error::CredentialsError, future};

use super::*;

/// What AWS's own signers say for these keys, this time and this place; computed once more by hand.
#[test]
fn a_token_is_signed_as_aws_signs_it() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_724_709_600);
    let keys = Keys::new("akid", "secret", None, None, "test");
    let host = "prod-instance.us-east-1.rds.amazonaws.com";
    let token = signed(host, 3306, "peccy", "us-east-1", keys, at).unwrap();
    assert_eq!(
        token,
        "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=peccy\
         &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request\
         &X-Amz-Date=20240826T220000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89"
    );
    let keys = Keys::new("akid", "secret", Some("a+/=".into()), None, "test");
    let token = signed(host, 3306, "a b@c", "us-east-1", keys, at).unwrap();
    assert!(token.contains("&DBUser=a%20b%40c&"), "{token}");
    assert!(
        token.contains("&X-Amz-Security-Token=a%2B%2F%3D"),
        "{token}"
    );
}

#[test]
fn the_region_is_that_of_the_host_unless_given() {
    let of = |given: Option<&str>, host: &str| {
        let region = Iam::new(given.map(str::to_owned)).region_of(host);
        region.map_err(|error| error.to_string())
    };
    let host = "db.c1abc.eu-west-1.rds.amazonaws.com";
    assert_eq!(of(None, host).unwrap(), "eu-west-1");
    assert_eq!(of(Some(""), host).unwrap(), "eu-west-1");
    assert_eq!(of(Some("us-east-2"), host).unwrap(), "us-east-2");
    let china = "db.c1abc.cn-north-1.rds.amazonaws.com.cn";
    assert_eq!(of(None, china).unwrap(), "cn-north-1");
    // EKS gives every pod the region of its cluster.
    let usual = Iam::new(None).usually_in(Some("us-west-2".into()));
    assert_eq!(usual.region_of(host).unwrap(), "eu-west-1");
    assert_eq!(usual.region_of("db.internal").unwrap(), "us-west-2");
    assert!(
        of(None, "db.internal")
            .unwrap_err()
            .contains("--db-iam-region")
    );
}

/// Keys that are numbered, or none.
#[derive(Debug, Default)]
struct Numbered {
    asked: AtomicU32,
    away: std::sync::atomic::AtomicBool,
    lasting: Option<Duration>,
}

impl ProvideCredentials for &'static Numbered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        future::ProvideCredentials::ready(if self.away.load(Ordering::Relaxed) {
            Err(CredentialsError::provider_error("it is away"))
        } else {
            let end = self
                .lasting
                .map(|lasting| SystemTime::from(Clock::system().now()) + lasting);
            Ok(Keys::new(
                format!("key{number}"),
                "secret",
                None,
                end,
                "test",
            ))
        })
    }
}

fn place(host: &str) -> Credentials {
    Credentials {
        host: host.into(),
        port: 5432,
        name: "maestro".into(),
        user: "app".into(),
        password: String::new(),
    }
}

fn numbered(lasting: Option<Duration>) -> (&'static Numbered, Iam) {
    let keys = Box::leak(Box::new(Numbered {
        lasting,
        ..Numbered::default()
    }));
    (keys, Iam::new(Some("eu-west-1".into())).with_keys(&*keys))
}

/// The number of the key that signed.
async fn key(iam: &Iam, host: &str) -> Result<String, String> {
    let token = iam.token(&place(host), &Limits::default()).await;
    let token = token.map_err(|error| error.to_string())?;
    let (_, rest) = token.split_once("Credential=").unwrap();
    Ok(rest.split_once("%2F").unwrap().0.to_owned())
}

async fn pass(minutes: u64) {
    tokio::time::advance(Duration::from_secs(60 * minutes)).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_its_end_and_outlives_a_service_that_is_away() {
    let (keys, iam) = numbered(None);
    assert_eq!(key(&iam, "h").await.unwrap(), "key0");
    pass(9).await;
    assert_eq!(key(&iam, "h").await.unwrap(), "key0");
    pass(2).await;
    assert_eq!(key(&iam, "h").await.unwrap(), "key1");
    assert_eq!(
        key(&iam, "other").await.unwrap(),
        "key2",
        "a token is for one server"
    );
    keys.away.store(true, Ordering::Relaxed);
    pass(14).await;
    assert_eq!(key(&iam, "other").await.unwrap(), "key2");
    let asked = keys.asked.load(Ordering::Relaxed);
    assert_eq!(key(&iam, "other").await.unwrap(), "key2");
    assert_eq!(
        keys.asked.load(Ordering::Relaxed),
        asked,
        "not at every look"
    );
    pass(2).await;
    let error = key(&iam, "other").await.unwrap_err();
    assert!(
        error.contains("credentials from") && error.contains("it is away"),
        "{error}"
    );
    keys.away.store(false, Ordering::Relaxed);
    pass(1).await;
    assert!(key(&iam, "other").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_server_refuses_is_made_anew_but_not_again_and_again() {
    let (_, iam) = numbered(None);
    assert_eq!(key(&iam, "h").await.unwrap(), "key0");
    iam.doubt().await;
    assert_eq!(key(&iam, "h").await.unwrap(), "key0", "it is new");
    pass(1).await;
    iam.doubt().await;
    assert_eq!(key(&iam, "h").await.unwrap(), "key1");
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_the_keys_that_signed_it() {
    let (_, iam) = numbered(Some(Duration::from_secs(6 * 60)));
    assert_eq!(key(&iam, "h").await.unwrap(), "key0");
    pass(5).await;
    assert_eq!(key(&iam, "h").await.unwrap(), "key1");
}
