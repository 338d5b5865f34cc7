//! What the answers to CONNECT mean, with what AWS says of the certificate or without; pure.

use link::fault::{Code, Finding};

use super::certificate;
use super::seen::Ended;
use crate::doctor::aws::facts::AwsFacts;
use crate::doctor::policy::FLAPPING;
use crate::doctor::who::{Role, Who};

/// Whether the party's own client id was tried, and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// The broker took it.
    Taken,
    /// It did not.
    Ended(Ended),
    /// It was left alone; the words end "not tried: …".
    Spared(String),
    /// It was left alone, because it is known to be connected; the words say how.
    Connected(String),
}

/// What was tried.
#[derive(Clone, Debug)]
pub(crate) struct Tries {
    /// A client id that nobody has.
    pub(crate) foreign: Result<(), Ended>,
    /// The party's own.
    pub(crate) own: Own,
    /// How often the broker said that connects come too fast before it answered otherwise.
    pub(crate) throttled: u32,
    /// How often it said that it is not allowed before the last answer.
    pub(crate) refused: u32,
}

/// What CONNECT says of certificate, policy and client id.
pub(crate) fn findings(tries: &Tries, who: &Who, facts: &AwsFacts, allow: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(certain) = certificate::of_connect(facts, who) {
        found.push(certain);
    } else if let (Own::Spared(_), Some(true)) = (&tries.own, facts.connect_allowed()) {
        let seen = format!(
            "AWS: the certificate is ACTIVE, and its policies allow `{}`",
            who.own
        );
        found.push(Finding::ok(CONNECT, seen));
    } else {
        found.extend(own(tries, who, allow));
    }
    if tries.throttled > 0 && !matches!(&tries.own, Own::Ended(ended) if ended.is_throttled()) {
        let seen = format!(
            "the broker refused `{}` {} time(s) for its rate, then took it",
            who.own, tries.throttled
        );
        found.push(
            Finding::info(THROTTLED, seen)
                .why("one client id may connect once per second, or once in ten"),
        );
    }
    if tries.refused > 0 && tries.own == Own::Taken {
        let seen = format!(
            "the broker refused `{}` {} time(s), then took it",
            who.own, tries.refused
        );
        found.push(
            Finding::warning(FLAPPING, seen)
                .why("a change of a policy or a certificate takes 6 to 8 minutes to reach every host of the broker, which answer differently meanwhile")
                .next("change nothing; run it again in 8 minutes, and look at the policy only if the answers still differ"),
        );
    }
    found
}

/// Whether a foreign client id is refused. `None` where CONNECT says nothing of it.
pub(crate) fn foreign(tries: &Tries, who: &Who, allow: &str) -> Option<Finding> {
    match &tries.foreign {
        Ok(()) => Some(
            Finding::warning(FOREIGN_ID, format!("the broker took `{}`, a client id that is nobody's", who.foreign))
                .why("whoever holds this certificate can take any client id, and so throw any agent or the bridge out")
                .next(format!("allow `iot:Connect` for this party's own ids alone: {allow}{}", who.named_by())),
        ),
        Err(ended) if ended.is_refusal() && tries.own == Own::Taken => Some(Finding::ok(
            FOREIGN_ID,
            format!("`{}`, a client id that is nobody's, is refused ({ended})", who.foreign),
        )),
        Err(_) => None,
    }
}

fn own(tries: &Tries, who: &Who, allow: &str) -> Vec<Finding> {
    let id = &who.own;
    let ended = match &tries.own {
        Own::Taken => return vec![Finding::ok(CONNECT, format!("the broker takes `{id}`"))],
        Own::Connected(how) => {
            return vec![Finding::ok(
                CONNECT,
                format!("`{id}` is connected now ({how}), and was left alone"),
            )];
        }
        Own::Spared(why) => return vec![spared(tries, who, why)],
        Own::Ended(ended) => ended,
    };
    if ended.is_throttled() {
        return vec![
            Finding::error(THROTTLED, format!("CONNECT as `{id}` is refused for its rate ({ended}), each time"))
                .why("one client id may connect once per second or once in ten, an account 500 times per second; somebody connects in a loop")
                .next("find who reconnects: CloudWatch `Connect.ClientIDThrottle` and `Connect.Throttle`; two processes with one id do it too (MQ304)"),
        ];
    }
    if ended.is_takeover() {
        return vec![taken_over(who, "at once")];
    }
    if ended.is_refusal() {
        return vec![refused(ended, tries, who, allow)];
    }
    let finding = match ended {
        Ended::Refused { code: 0x85 } => Finding::error(
            CONNECT,
            format!("the broker does not take `{id}` as a client id (CONNACK 0x85)"),
        )
        .why("nothing goes through before it is taken")
        .next("use 1 to 128 bytes without a leading `$`"),
        ended if ended.is_of_another_protocol() => no_mqtt_5(id, ended),
        Ended::Silent(_) => Finding::error(
            CONNECT,
            format!("TLS came up, and CONNECT as `{id}` got no answer"),
        )
        .why("a port of another protocol, or a proxy between, is silent like this")
        .next("check host and port: 8883, or 443 with ALPN `x-amzn-mqtt-ca`"),
        other => Finding::error(CONNECT, format!("CONNECT as `{id}`: {other}"))
            .why("nothing goes through before it is taken")
            .next("run it again; if it stays, look at the broker's log"),
    };
    vec![finding]
}

// Whatever the client id and the certificate.
fn no_mqtt_5(id: &str, ended: &Ended) -> Finding {
    match ended {
        Ended::Protocol(_) => Finding::error(CONNECT, format!("CONNECT as `{id}`: {ended}"))
            .why("what answers there speaks another protocol, as a web server or a proxy does: the certificate has nothing to do with it")
            .next("check host and port: 8883, or 443 with ALPN `x-amzn-mqtt-ca`, without a proxy in between"),
        _ => Finding::error(CONNECT, format!("the broker does not speak MQTT 5 ({ended})"))
            .why("agent and bridge speak MQTT 5 alone")
            .next("use a broker of MQTT 5"),
    }
}

fn spared(tries: &Tries, who: &Who, why: &str) -> Finding {
    let id = &who.own;
    let next = "run it again with `--take-over` (whoever is connected with this id is out for some seconds), or with credentials of AWS, which tell without that";
    match &tries.foreign {
        // Let in under a foreign id: certificate and some policy are fine; the id itself was not asked for.
        Ok(()) => Finding::info(CONNECT, format!("`{id}` was not tried: {why}")).next(next),
        Err(ended) if ended.is_of_another_protocol() => no_mqtt_5(&who.foreign, ended),
        Err(ended) if ended.is_throttled() => {
            Finding::warning(THROTTLED, format!("CONNECT of `{}` is refused for its rate ({ended})", who.foreign))
                .why("one client id may connect once per second or once in ten, an account 500 times per second")
                .next("wait a minute, and run it again")
        }
        Err(ended) => Finding::warning(
            CONNECT,
            format!("`{id}` was not tried: {why}; a foreign id got: {ended}"),
        )
        .why("a policy that is right refuses a foreign id, and so does a certificate that is not active: whether the broker takes this party is not known")
        .next(next),
    }
}

fn refused(ended: &Ended, tries: &Tries, who: &Who, allow: &str) -> Finding {
    let id = &who.own;
    if tries.foreign.is_ok() {
        return Finding::error(
            CLIENT_ID,
            format!(
                "the policy allows `{}` and refuses `{id}` ({ended})",
                who.foreign
            ),
        )
        .why("this party connects with that id alone")
        .next(format!("add to the policy: {allow}{}", who.named_by()));
    }
    let id_candidate =
        format!("the policy does not allow this client id (MQ303); it needs {allow}");
    let none = "no policy is attached (MQ302)".to_owned();
    let inactive = "the certificate is not registered in the endpoint's account and region, INACTIVE or REVOKED (MQ301)".to_owned();
    // IoT Core says 0x87 for what a policy refuses, and mostly nothing at all to a certificate it does not take.
    let ranked = match ended {
        Ended::Closed => [inactive, none, id_candidate],
        _ => [id_candidate, none, inactive],
    };
    let [first, second, third] = ranked;
    let other = match who.role {
        Role::Operator => "",
        _ => "; a foreign id is refused too, which excludes none of them",
    };
    let seen = format!("CONNECT as `{id}` is refused ({ended})");
    if who.role == Role::Operator && !who.shared {
        return Finding::warning(CONNECT, seen)
            .why(format!("an agent's or a bridge's policy refuses an operator's client id, which is right; else, likeliest first: 1. {first}; 2. {second}; 3. {third}"))
            .next("say whose certificate it is: give `--consumer NAME` or `--source NAME` (or `-i ID`); an operator's needs the policy of `provisioner policy`");
    }
    Finding::error(CONNECT, seen)
        .why(format!(
            "the broker does not say which, likeliest first: 1. {first}; 2. {second}; 3. {third}{other}"
        ))
        .next("give credentials of AWS, which tell them apart; else `aws iot describe-certificate --certificate-id ID` and `aws iot list-attached-policies --target ARN`")
}

/// The owner of a client id that was free came back while it was held.
pub(crate) fn owner_is_back(who: &Who, when: &str) -> Finding {
    Finding::info(
        IN_USE,
        format!("another connection took `{}` {when} (DISCONNECT 0x8E), most likely its owner, who was away", who.own),
    )
    .why("the id was free when it was taken; two processes with it throw each other out for ever, and this was once")
    .next("run it again: whoever is there now is left alone")
}

/// Another process has the client id.
pub(crate) fn taken_over(who: &Who, when: &str) -> Finding {
    let suspect = match who.role {
        Role::Agent(_) => {
            "a second agent of this consumer, an old pod that did not end, or the agent that was just thrown out by `--take-over`"
        }
        Role::Bridge(_) => {
            "a second bridge with the same client id, or an old pod that did not end"
        }
        Role::Operator => "another process that was given the same `-i`",
    };
    Finding::error(
        IN_USE,
        format!("another connection took `{}` {when} (DISCONNECT 0x8E)", who.own),
    )
    .why(format!("two processes with one client id throw each other out for ever; suspected: {suspect}"))
    .next("let one process have the id: `kubectl get pods -A | grep agent`, and look for a second cluster that was given the same certificate")
}

pub(crate) const CONNECT: Code = Code::new(300);
const CLIENT_ID: Code = Code::new(303);
const IN_USE: Code = Code::new(304);
const THROTTLED: Code = Code::new(305);
const FOREIGN_ID: Code = Code::new(311);

#[cfg(test)]
mod tests {
    use link::fault::Severity;
    use link::id::ClientId;
    use link::topic::Scheme;

    use super::*;

    fn found(own: Own, refused: u32, given: bool) -> Vec<(u16, Severity)> {
        let id = ClientId::new("probe-1").unwrap();
        let who = Who::operator(&Scheme::default(), &id, given, "test/a".into(), "doctor-1");
        let tries = Tries {
            foreign: Err(Ended::Refused { code: 0x87 }),
            own,
            throttled: 0,
            refused,
        };
        let facts = AwsFacts::none("no credentials");
        let found = findings(&tries, &who, &facts, "{}");
        found
            .iter()
            .map(|it| (it.code.number(), it.severity))
            .collect()
    }

    #[test]
    fn an_id_that_is_refused_and_then_taken_is_a_change_on_its_way() {
        let ok = (300, Severity::Ok);
        assert_eq!(found(Own::Taken, 0, true), [ok]);
        assert_eq!(found(Own::Taken, 1, true), [ok, (314, Severity::Warning)]);
    }

    #[test]
    fn an_operators_own_id_that_is_refused_may_be_another_partys_certificate() {
        let refused = || Own::Ended(Ended::Refused { code: 0x87 });
        assert_eq!(found(refused(), 2, false), [(300, Severity::Warning)]);
        assert_eq!(found(refused(), 2, true), [(300, Severity::Error)]);
    }
}
