//! The policy of a server whose file does not say where the state is.
//!
//! Such files are from before servers shared the region's database. What stands in for the absent key would replace
//! the policy of a server with a file, whose next version would begin with an empty database; so nothing is changed
//! until the key is there.

use link::iot::evaluate::{Request, Resource, evaluate};
use link::iot::{ArnPrefix, Context, Document, PolicyAction, Thing};
use link::party::Party;

use crate::resource::State;

/// The server either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// What ARNs begin with.
    pub arn: ArnPrefix,
    /// With a file.
    pub alone: Party,
    /// With the database.
    pub shared: Party,
}

// === impl Undecided ===

impl Undecided {
    /// What stands in the way of a change, when the live document is that of a server with a file.
    pub(super) fn refusal(&self, live: &str) -> Option<State> {
        let live = [Document::parse(live).ok()?];
        if !self.fits(&live, &self.alone) || self.fits(&live, &self.shared) {
            return None;
        }
        Some(State::Broken {
            why: "it is the policy of a server that keeps its state in a file, and the region's file has no `server.store`, which means `postgres`".into(),
            hint: "write `server.store: sqlite` to stay, or `postgres` and follow \"Moving to the database\" in docs/DEPLOYING.md".into(),
        })
    }

    // Whether all clients of the party connect and subscribe.
    fn fits(&self, live: &[Document], party: &Party) -> bool {
        let allowed = |id: &str, action, resource| {
            let mut context = Context::new(self.arn.clone(), id);
            context.thing = Some(Thing {
                name: id.to_owned(),
                attached: true,
                ..Thing::default()
            });
            let request = Request {
                action,
                resource,
                context: &context,
            };
            evaluate(live, &request).is_allowed()
        };
        party.client_ids().iter().all(|id| {
            let id = id.as_str();
            let mut filters = party.subscribes().iter();
            allowed(id, PolicyAction::Connect, Resource::Client(id))
                && filters.all(|it| allowed(id, PolicyAction::Subscribe, Resource::Filter(it)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::region;
    use crate::resource::Resource;
    use region_file::Region;

    fn undecided(region: &Region) -> Option<Box<Undecided>> {
        let resources = crate::desired::region(region).into_iter();
        let mut policies = resources.filter_map(|resource| match resource {
            Resource::IotPolicy(policy) => Some(policy),
            _ => None,
        });
        policies.next().unwrap().undecided
    }

    fn live(more: &str) -> String {
        let region = region(more);
        region.server.party.policy(&region.arn_prefix()).to_json()
    }

    #[test]
    fn a_file_of_before_does_not_take_a_server_with_a_file_to_the_database() {
        for connections in [1, 4] {
            let file = format!("server: {{connections: {connections}}}\n");
            let before = file.replace('}', ", store: sqlite}");
            let undecided = undecided(&region(&file)).unwrap();
            let refusal = undecided.refusal(&live(&before));
            assert!(
                matches!(refusal, Some(State::Broken { .. })),
                "{connections}"
            );
        }
    }

    #[test]
    fn what_is_written_out_and_what_replicas_have_is_let_through() {
        for written in ["postgres", "sqlite"] {
            let file = format!("server: {{store: {written}}}\n");
            assert_eq!(undecided(&region(&file)), None);
        }
        let undecided = undecided(&region("")).unwrap();
        assert_eq!(undecided.refusal(&live("")), None);
        // Fewer slots than now: no server with a file.
        assert_eq!(undecided.refusal(&live("server: {slots: 3}\n")), None);
        let everything = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;
        assert_eq!(undecided.refusal(everything), None);
        assert_eq!(undecided.refusal("{oops"), None);
    }
}
