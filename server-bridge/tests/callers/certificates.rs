//! Callers known by client certificates.

use rcgen::ExtendedKeyUsagePurpose;
use reqwest::Method;
use server_bridge::callers::CallersConfig;

use crate::bridge::{Bridge, Place, told, until};
use crate::issuer::Issuer;
use crate::pki::{Ca, Wish};

#[tokio::test]
async fn a_caller_with_a_certificate_of_the_client_ca_is_known_and_nobody_else_comes_in() {
    let place = Place::new();
    let bridge = Bridge::start(&place, place.mutual()).await;
    for organisation in [None, Some("ops")] {
        let pair = place.clients.client("ann", organisation);
        let answer = bridge.get(&place.client(&pair), "/consumers").await;
        assert_eq!(answer.0, 200, "{answer:?}");
    }
    // For servers and clients alike, and for nothing in particular.
    for usage in [None, Some(ExtendedKeyUsagePurpose::ClientAuth)] {
        let wish = Wish {
            common_name: "bob",
            organisation: None,
            days: (-1, 1),
            usage,
        };
        let answer = bridge
            .get(&place.client(&place.clients.issue(&wish)), "/consumers")
            .await;
        assert_eq!(answer.0, 200, "{answer:?}");
    }
    let wish = |days, usage| Wish {
        common_name: "ann",
        organisation: None,
        days,
        usage: Some(usage),
    };
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let refused = [
        ("foreign", Ca::new("clients").client("ann", None)),
        ("the bridge's own CA", place.ca.client("ann", None)),
        (
            "expired",
            place.clients.issue(&wish((-2, -1), client.clone())),
        ),
        ("not yet valid", place.clients.issue(&wish((1, 2), client))),
        (
            "for servers",
            place
                .clients
                .issue(&wish((-1, 1), ExtendedKeyUsagePurpose::ServerAuth)),
        ),
    ];
    let count = refused.len() + 1;
    for (what, pair) in refused {
        let sent = place.client(&pair).get(bridge.url("/consumers")).send();
        assert!(sent.await.is_err(), "{what}");
    }
    let anonymous = place.anonymous().build().unwrap();
    assert!(
        anonymous
            .get(bridge.url("/consumers"))
            .send()
            .await
            .is_err()
    );
    let failed = bridge.metric("bridge_tls_handshakes_failed_total");
    assert!(failed >= Some(count as f64), "{failed:?}");
    let plain = reqwest::get(format!("http://{}/api/maestro/v1", bridge.address));
    assert!(plain.await.is_err());
}

#[tokio::test]
async fn a_certificate_without_a_common_name_is_refused_in_words() {
    let place = Place::new();
    let bridge = Bridge::start(&place, place.mutual()).await;
    let nameless = place.clients.client("", Some("ops"));
    let answer = bridge.get(&place.client(&nameless), "/consumers").await;
    assert_eq!(
        told(&answer),
        "401 maestro-15: the client certificate is refused: its subject has no common name (CN), which is the user"
    );
}

#[tokio::test]
async fn where_tokens_are_taken_too_a_certificate_is_not_demanded_and_without_both_nothing_is_read()
{
    let place = Place::new();
    let issuer = Issuer::start().await;
    let config = CallersConfig {
        issuers: vec![issuer.config()],
        ..place.mutual()
    };
    let bridge = Bridge::start(&place, config).await;
    let ann = place.client(&place.clients.client("ann", None));
    assert_eq!(bridge.get(&ann, "/consumers").await.0, 200);
    let anonymous = place.anonymous().build().unwrap();
    let token = issuer.token(serde_json::json!({}));
    assert_eq!(bridge.with_token(&anonymous, &token).await.0, 200);
    for path in [
        "",
        "/openapi",
        "/errors",
        "/errors/4",
        "/consumers",
        "/resource-bundles/x",
        "/nothing",
    ] {
        let answer = bridge.get(&anonymous, path).await;
        assert_eq!(
            told(&answer),
            "401 maestro-15: nothing says who calls: send a client certificate of this server's client CA, or \
             `Authorization: Bearer TOKEN`",
            "{path}"
        );
    }
    // A token that is refused is not made good by a certificate.
    let answer = bridge.with_token(&ann, "x").await;
    assert_eq!(answer.0, 401);
    let foreign = place.client(&Ca::new("clients").client("ann", None));
    assert!(foreign.get(bridge.url("/consumers")).send().await.is_err());
}

#[tokio::test]
async fn a_replaced_ca_counts_at_the_next_call_of_a_connection_that_is_open() {
    let place = Place::new();
    let bridge = Bridge::start(&place, place.mutual()).await;
    let (old, new) = (&place.clients, Ca::new("clients, later"));
    let (ann, bob) = (old.client("ann", None), new.client("bob", None));
    let (ann, bob) = (place.client(&ann), place.client(&bob));
    assert_eq!(bridge.get(&ann, "/consumers").await.0, 200);
    assert!(bob.get(bridge.url("/consumers")).send().await.is_err());
    // Both during the change.
    place.write("ca.crt", &format!("{}{}", old.pem, new.pem));
    let ask = async || {
        bob.get(bridge.url("/consumers"))
            .send()
            .await
            .map(|r| r.status().as_u16())
            .unwrap_or(0)
    };
    until(ask, |status| *status == 200).await;
    assert_eq!(bridge.get(&ann, "/consumers").await.0, 200);
    place.write("ca.crt", "not a certificate");
    let refused = async || bridge.metric("bridge_caller_files_refused{files=\"client-ca\"}");
    until(refused, |value| *value == Some(1.0)).await;
    assert_eq!(bridge.get(&ann, "/consumers").await.0, 200);
    place.write("ca.crt", &new.pem);
    let answer = until(
        async || bridge.get(&ann, "/consumers").await,
        |answer| answer.0 != 200,
    )
    .await;
    assert_eq!(
        told(&answer),
        "401 maestro-15: the client certificate is refused: no CA of the client CA file issued it"
    );
    assert_eq!(bridge.get(&bob, "/consumers").await.0, 200);
    until(refused, |value| *value == Some(0.0)).await;
}

#[tokio::test]
async fn a_replaced_server_certificate_is_shown_at_the_next_handshake_and_a_bad_one_never() {
    let mut place = Place::new();
    let bridge = Bridge::start(&place, place.tls()).await;
    let old = place.anonymous().build().unwrap();
    assert_eq!(bridge.get(&old, "/consumers").await.0, 200);
    let expiry = "bridge_tls_certificate_expiry_timestamp_seconds{listener=\"https\"}";
    let first = bridge.metric(expiry).unwrap();
    let refused = async || bridge.metric("bridge_caller_files_refused{files=\"https\"}");
    let expired = place.ca.server((-2, -1));
    let other = place.ca.server((-1, 1));
    for (certificate, key) in [
        (&expired.certificate, &expired.key),
        // Of two pairs.
        (&expired.certificate, &other.key),
        (&"no certificate".to_owned(), &other.key),
    ] {
        place.write("tls.crt", certificate);
        place.write("tls.key", key);
        until(refused, |value| *value == Some(1.0)).await;
        let anew = place.anonymous().build().unwrap();
        assert_eq!(bridge.get(&anew, "/consumers").await.0, 200);
    }
    assert_eq!(bridge.metric(expiry), Some(first));
    assert!(bridge.checks.all_ok());
    place.ca = Ca::new("servers, later");
    let new = place.ca.server((-1, 9));
    place.write("tls.crt", &new.certificate);
    place.write("tls.key", &new.key);
    let ask = async || {
        let anew = place.anonymous().build().unwrap();
        anew.get(bridge.url("/consumers")).send().await.is_ok()
    };
    until(ask, |known| *known).await;
    until(refused, |value| *value == Some(0.0)).await;
    until(async || bridge.metric(expiry), |at| *at > Some(first)).await;
    // The connection that was open is open.
    assert_eq!(bridge.get(&old, "/consumers").await.0, 200);
}

#[tokio::test]
async fn known_host_and_json_are_demanded_over_tls_too() {
    let place = Place::new();
    let bridge = Bridge::start(&place, place.mutual()).await;
    let ann = place.client(&place.clients.client("ann", None));
    let url = bridge.url("/consumers");
    let strange = ann.get(&url).header("host", "evil.example").send().await;
    assert_eq!(strange.unwrap().status(), 403);
    let page = ann
        .get(&url)
        .header("origin", "https://evil.example")
        .send();
    assert_eq!(page.await.unwrap().status(), 403);
    let form = ann.post(&url).body("{\"name\":\"c1\"}").send().await;
    assert_eq!(form.unwrap().status(), 415);
    let answer = bridge
        .send(
            &ann,
            None,
            Method::POST,
            "/consumers",
            Some(serde_json::json!({"name": "c1"})),
        )
        .await
        .unwrap();
    assert_eq!(answer.0, 201);
}
