//! What SUBACK and PUBACK mean, and the statement that a policy lacks; pure.

use link::fault::{Code, Finding};
use link::iot::{ArnPrefix, PolicyAction};

use crate::doctor::aws::facts::AwsFacts;
use crate::doctor::statement::statement;
use crate::doctor::who::{Role, Who};

/// Something that a policy may not allow.
pub(crate) struct Denied<'a> {
    action: PolicyAction,
    resource: String,
    arn: &'a ArnPrefix,
    by: Option<String>,
}

// === impl Denied ===

impl<'a> Denied<'a> {
    /// With what the attached policies say of it, where they are known.
    pub(crate) fn new(
        action: PolicyAction,
        on: &str,
        who: &Who,
        facts: &AwsFacts,
        arn: &'a ArnPrefix,
    ) -> Self {
        let by = facts
            .decide(action, on)
            .map(|decision| decision.explain())
            .or_else(|| facts.recent());
        Self {
            action,
            resource: who.pattern(on),
            arn,
            by,
        }
    }

    /// The statement that allows it.
    pub(crate) fn statement(&self) -> String {
        statement(self.action, &self.resource, self.arn)
    }

    /// What is known of the reason.
    pub(crate) fn why(&self) -> String {
        self.by.clone().unwrap_or_else(|| {
            "a policy edit takes up to 8 minutes; `+` and `#` in a policy's resource are no wildcards, `*` is".into()
        })
    }
}

/// What SUBACK says, the last answer first of all.
pub(crate) fn subscribe_finding(
    filter: &str,
    codes: &[u8],
    denied: &Denied<'_>,
    who: &Who,
) -> Finding {
    let code = codes.last().copied().unwrap_or(0x80);
    let seen = format!("SUBSCRIBE to `{filter}` is refused (SUBACK 0x{code:02x})");
    match code {
        0..=0x7f => Finding::ok(
            SUBSCRIBE,
            format!("the subscription to `{filter}` is granted"),
        ),
        0x87 => {
            let without = match who.role {
                Role::Agent(_) => {
                    "without it no bundle reaches this agent; many clients do not look at this answer, and stay connected and deaf"
                }
                Role::Bridge(_) => "without it no status reaches this bridge",
                Role::Operator => "without it nothing comes",
            };
            let receive = statement(
                PolicyAction::Receive,
                &received(&who.pattern(filter)),
                denied.arn,
            );
            Finding::error(Code::new(321), seen)
                .why(format!("{without}. {}", denied.why()))
                .next(format!(
                    "add to the policy: {} and {receive}",
                    denied.statement()
                ))
        }
        0x97 => Finding::error(Code::new(322), seen)
            .why("a connection has 50 subscriptions at most, an account a rate of them")
            .next("subscribe with wildcards, or with more connections"),
        0x8f => Finding::error(Code::new(323), seen)
            .why("a filter has 256 bytes and 7 slashes at most")
            .next("shorten the topics"),
        _ => Finding::error(SUBSCRIBE, seen)
            .why("the broker gives no other reason")
            .next("look at the broker's log"),
    }
}

/// What PUBACK says.
pub(crate) fn publish_finding(topic: &str, codes: &[u8], denied: &Denied<'_>) -> Finding {
    let code = codes.last().copied().unwrap_or(0x80);
    let seen = format!("PUBLISH to `{topic}` is refused (PUBACK 0x{code:02x})");
    match code {
        0..=0x7f if codes.contains(&0x97) => Finding::warning(
            RATE,
            format!("a message to `{topic}` was discarded for its rate (PUBACK 0x97), and taken a second later"),
        )
        .why("this connection sent one message: the account's rate is used up")
        .next("look at CloudWatch `PublishIn.Throttle`, and for a client that publishes without a pause"),
        0..=0x7f => Finding::ok(PUBLISH, format!("a message to `{topic}` is taken")),
        0x87 => Finding::error(Code::new(331), seen)
            .why(format!("what is denied is given up, not kept. {}", denied.why()))
            .next(format!("add to the policy: {}", denied.statement())),
        0x97 => Finding::error(RATE, format!("{seen}, {} times", codes.len()))
            .why("a connection may publish 100 messages and 512 KiB per second, in and out together; this one sent few")
            .next("look at CloudWatch `PublishIn.Throttle`, and ask for a higher quota of the account"),
        0x90 => Finding::error(Code::new(323), seen)
            .why("a topic has 256 bytes and 7 slashes at most, and no wildcard")
            .next("shorten the topics"),
        0x95 | 0x99 => Finding::error(Code::new(332), seen)
            .why("the broker does not take a message of this size or form")
            .next("compare with docs/IOT-CORE.md §1.2"),
        _ => Finding::error(PUBLISH, seen)
            .why("the broker gives no other reason")
            .next("look at the broker's log"),
    }
}

// The topics that a filter stands for, as a policy names them.
fn received(filter: &str) -> String {
    let bare = match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or(rest, |(_, bare)| bare),
        None => filter,
    };
    bare.replace('+', "*")
}

const SUBSCRIBE: Code = Code::new(320);
const PUBLISH: Code = Code::new(330);
const RATE: Code = Code::new(333);

#[cfg(test)]
mod tests {
    use link::topic::Scheme;

    use super::*;

    fn operator() -> Who {
        let id = link::id::ClientId::new("probe-1").unwrap();
        Who::operator(&Scheme::default(), &id, false, "test/a".into(), "doctor-1")
    }

    #[test]
    fn a_denied_subscription_names_the_statement_to_add() {
        let arn = ArnPrefix::default();
        let facts = AwsFacts::none("no credentials");
        let denied = Denied::new(PolicyAction::Subscribe, "a/+/b", &operator(), &facts, &arn);
        let finding = subscribe_finding("a/+/b", &[0x87], &denied, &operator());
        assert_eq!(finding.code, Code::new(321));
        assert!(
            finding.next.contains("topicfilter/a/+/b") && finding.next.contains("topic/a/*/b"),
            "{}",
            finding.next
        );
    }

    #[test]
    fn each_answer_to_publish_has_its_code() {
        let arn = ArnPrefix::default();
        let facts = AwsFacts::none("no credentials");
        let denied = Denied::new(PolicyAction::Publish, "a", &operator(), &facts, &arn);
        let code = |codes: &[u8]| publish_finding("a", codes, &denied).code.number();
        assert_eq!(code(&[0]), 330);
        assert_eq!(code(&[0x10]), 330);
        assert_eq!(code(&[0x87, 0x87, 0x87]), 331);
        assert_eq!(code(&[0x97, 0]), 333);
        assert_eq!(code(&[0x97, 0x97, 0x97]), 333);
        assert_eq!(code(&[0x90]), 323);
    }
}
