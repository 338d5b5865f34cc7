//! `golden/aws.yaml`: policies, requests and the outcome that AWS's documentation gives, page by page.
//!
//! `unknown` is the outcome where the documentation does not say, or says that the outcome is uncertain; there, allow
//! would be a guess.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::super::context::{ArnPrefix, Thing};
use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    page: String,
    says: String,
    /// The statements of one document of version `2012-10-17`.
    #[serde(default)]
    statements: Option<String>,
    /// Whole documents.
    #[serde(default)]
    documents: Vec<String>,
    /// Whether `Document::parse` refuses the documents.
    #[serde(default)]
    refused: bool,
    #[serde(default)]
    of: Connection,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    ask: String,
    is: String,
    #[serde(default)]
    of: Option<Connection>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Connection {
    client: Option<String>,
    thing: bool,
    thing_type: Option<String>,
    thing_attributes: BTreeMap<String, String>,
    certificate_id: Option<String>,
    certificate: BTreeMap<String, Vec<String>>,
    ip: Option<String>,
    persistent: bool,
    will: bool,
}

// === impl Connection ===

impl Connection {
    fn context(&self, client: &str) -> Context {
        let arn = ArnPrefix::new("us-east-1", "123456789012");
        let mut context = Context::new(arn, client);
        context.thing = self.thing.then(|| Thing {
            name: client.to_owned(),
            type_name: self.thing_type.clone(),
            attributes: self.thing_attributes.clone(),
            attached: true,
        });
        context.certificate.id.clone_from(&self.certificate_id);
        context.certificate.attributes.clone_from(&self.certificate);
        context.source_ip = self.ip.as_deref().map(|ip| ip.parse().unwrap());
        context.connect.persistent = self.persistent;
        context.connect.last_will = self.will;
        context
    }
}

// === impl Case ===

impl Case {
    fn documents(&self) -> Vec<Document> {
        let wrapped = self
            .statements
            .iter()
            .map(|all| format!(r#"{{"Version":"2012-10-17","Statement":[{all}]}}"#));
        wrapped
            .chain(self.documents.iter().cloned())
            .map(|json| json.replace("ARN:", "arn:aws:iot:us-east-1:123456789012:"))
            .map(|json| {
                let parsed = Document::parse(&json);
                assert_eq!(parsed.is_err(), self.refused, "{}: {parsed:?}", self.case);
                Document::read(&json)
            })
            .collect()
    }
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("golden/aws.yaml")).unwrap()
}

fn outcome(documents: &[Document], row: &Row, of: &Connection) -> Decision {
    let (action, name) = row.ask.split_once(' ').unwrap();
    let mut all = PolicyAction::ALL.into_iter();
    let action = all.find(|known| known.name() == action).unwrap();
    let client = match action {
        PolicyAction::Connect => name,
        _ => of.client.as_deref().unwrap_or("client1"),
    };
    let context = of.context(client);
    let resource = Resource::of(action, name);
    let request = Request {
        action,
        resource,
        context: &context,
    };
    evaluate(documents, &request)
}

#[test]
fn every_row_comes_out_as_aws_documents_it() {
    let mut wrong = Vec::new();
    for case in cases() {
        let documents = case.documents();
        for row in &case.rows {
            let decision = outcome(&documents, row, row.of.as_ref().unwrap_or(&case.of));
            let found = match decision {
                Decision::Allow { .. } => "allow",
                Decision::Deny { .. } => "deny",
                Decision::Unknown { .. } => "unknown",
            };
            if found != row.is {
                let Case { case, page, .. } = &case;
                let (ask, is) = (&row.ask, &row.is);
                let said = decision.explain();
                wrong.push(format!(
                    "{case}: `{ask}` is {is} by \"{page}\", not {found}: {said}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_names_its_page_and_every_outcome_is_frequent() {
    let cases = cases();
    let mut names = BTreeSet::new();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        assert!(
            !case.page.is_empty() && !case.says.is_empty(),
            "{}",
            case.case
        );
        assert!(names.insert(&case.case), "{} stands twice", case.case);
        for row in &case.rows {
            *outcomes.entry(row.is.clone()).or_default() += 1;
        }
    }
    for outcome in ["allow", "deny", "unknown"] {
        assert!(outcomes[outcome] >= 25, "{outcomes:?}");
    }
    assert!(outcomes.values().sum::<usize>() >= 80, "{outcomes:?}");
}
