//! What to do about a refusal, and the page of its fault.

use super::{ConnectError, PublishError, SubscribeError};
use crate::error::Hint;
use crate::fault::Code;

impl Hint for ConnectError {
    fn hint(&self) -> Option<String> {
        let (code, text) = match self {
            Self::Timeout | Self::Network(_) => (
                210,
                "check host, port and the way out of the network; `probe doctor` says which hop fails and why",
            ),
            Self::Tls(problem) => {
                return problem.hint().map(|hint| problem.code().with_page(&hint));
            }
            Self::ClosedBeforeConnAck => (
                300,
                "on IoT Core the certificate is unknown, INACTIVE or of another account or region; check it with `aws iot describe-certificate`",
            ),
            Self::Refused { code: 0x85, .. } => (303, "the broker does not accept this client id"),
            Self::Refused {
                code: 0x86 | 0x87 | 0x8a,
                ..
            } => (
                303,
                "no policy on this certificate allows `iot:Connect` for this client id; policy edits take some minutes",
            ),
            Self::Disconnected { code: 0x8e, .. } => (
                304,
                "another process uses the same client id: one id per process, and no second replica with the same one",
            ),
            Self::Disconnected { code: 0x90, .. } => (
                323,
                "a message broke a broker limit; the log names its topic",
            ),
            Self::Disconnected {
                code: 0x95 | 0x99, ..
            } => (
                332,
                "a message broke a broker limit; the log names its topic",
            ),
            Self::Disconnected { code: 0x98, .. } => {
                return Some("an operator or a certificate change ended the connection".into());
            }
            _ => return None,
        };
        Some(Code::new(code).with_page(text))
    }
}

impl Hint for SubscribeError {
    fn hint(&self) -> Option<String> {
        let filter = &self.filter;
        (self.code == 0x87).then(|| {
            Code::new(321).with_page(&format!("allow `iot:Subscribe` on `topicfilter/{filter}` and `iot:Receive` on the topics it matches"))
        })
    }
}

impl Hint for PublishError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Limit { source, .. } => source.hint(),
            Self::Refused {
                topic, code: 0x87, ..
            } => {
                let next = format!(
                    "allow `iot:Publish` on `topic/{topic}`; policy edits take some minutes"
                );
                Some(Code::new(331).with_page(&next))
            }
            Self::Refused { code: 0x97, .. } => {
                let next = "the account or connection is over a publish quota; look at `PublishIn.Throttle` in CloudWatch";
                Some(Code::new(333).with_page(next))
            }
            Self::Poison { .. } => {
                Some("look at the message's size and topic; it is not sent again".into())
            }
            _ => None,
        }
    }
}
