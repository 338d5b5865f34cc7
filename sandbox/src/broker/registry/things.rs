//! Things of the registry, and which certificates are attached to them.

use std::collections::BTreeMap;

use link::iot::Thing;
use link::iot::limits::{THING_ATTRIBUTES, TYPED_THING_ATTRIBUTES};

use super::{Account, Fingerprint, RegisteredThing, Registry, RegistryError, ThingChange};

// === impl Registry ===

impl Registry {
    /// Attaches a certificate to a thing, whose variables policies may then use. The thing is made, or becomes what is
    /// given here.
    ///
    /// # Errors
    /// For an unknown certificate.
    pub fn attach_thing(
        &self,
        certificate: &Fingerprint,
        thing: Thing,
    ) -> Result<(), RegistryError> {
        self.change(|account| {
            account.certificate(certificate)?;
            let stored = account
                .things
                .entry(thing.name)
                .or_insert_with(|| RegisteredThing::new(None, BTreeMap::new()));
            stored.type_name = thing.type_name;
            stored.attributes = thing.attributes;
            stored.principals.insert(certificate.clone());
            Ok(())
        })
    }

    /// Creates a thing without a type; one of that name with the same attributes is left as it is.
    ///
    /// # Errors
    /// When there is one with other attributes, and for more than 3 attributes.
    pub fn create_thing(
        &self,
        name: &str,
        attributes: BTreeMap<String, String>,
    ) -> Result<RegisteredThing, RegistryError> {
        self.change(|account| {
            if let Some(known) = account.things.get(name) {
                if known.attributes == attributes && known.type_name.is_none() {
                    return Ok(known.clone());
                }
                return Err(RegistryError::ThingExists {
                    name: name.to_owned(),
                    id: known.id.clone(),
                });
            }
            let thing = RegisteredThing::new(None, attributes);
            check_attributes(name, &thing)?;
            account.things.insert(name.to_owned(), thing.clone());
            Ok(thing)
        })
    }

    /// Changes the attributes of a thing.
    ///
    /// # Errors
    /// For an unknown thing, another version than expected, and too many attributes.
    pub fn update_thing(&self, name: &str, change: ThingChange) -> Result<(), RegistryError> {
        self.change(|account| {
            let stored = account.thing(name)?;
            check_version(name, stored, change.expected_version)?;
            let mut thing = stored.clone();
            if let Some(attributes) = change.attributes {
                thing.set_attributes(attributes, change.merge);
            }
            thing.version += 1;
            check_attributes(name, &thing)?;
            *stored = thing;
            Ok(())
        })
    }

    /// Deletes a thing; whether there was one.
    ///
    /// # Errors
    /// For another version than expected, and while a certificate is attached.
    pub fn delete_thing(
        &self,
        name: &str,
        expected_version: Option<i64>,
    ) -> Result<bool, RegistryError> {
        self.change(|account| {
            let Some(thing) = account.things.get(name) else {
                return Ok(false);
            };
            check_version(name, thing, expected_version)?;
            if !thing.principals.is_empty() {
                return Err(RegistryError::ThingAttached(name.to_owned()));
            }
            account.things.remove(name);
            Ok(true)
        })
    }

    /// Attaches a certificate to a thing that exists.
    ///
    /// # Errors
    /// When either does not exist.
    pub fn attach_principal(
        &self,
        thing: &str,
        certificate: &Fingerprint,
    ) -> Result<(), RegistryError> {
        self.change(|account| {
            let thing = both(account, thing, certificate)?;
            thing.principals.insert(certificate.clone());
            Ok(())
        })
    }

    /// Detaches a certificate from a thing; whether it was attached.
    ///
    /// # Errors
    /// When either does not exist.
    pub fn detach_principal(
        &self,
        thing: &str,
        certificate: &Fingerprint,
    ) -> Result<bool, RegistryError> {
        self.change(|account| {
            let thing = both(account, thing, certificate)?;
            Ok(thing.principals.remove(certificate))
        })
    }

    /// A thing.
    pub fn thing(&self, name: &str) -> Option<RegisteredThing> {
        self.read(|account| account.things.get(name).cloned())
    }

    /// All things by name.
    pub fn things(&self) -> Vec<(String, RegisteredThing)> {
        self.read(|account| {
            let all = account.things.iter();
            all.map(|(name, thing)| (name.clone(), thing.clone()))
                .collect()
        })
    }

    /// The name of the thing that a certificate is attached to: the one called as the client id, else the first.
    pub(in crate::broker) fn thing_name_of(
        &self,
        client_id: &str,
        certificate: &Fingerprint,
    ) -> Option<String> {
        self.read(|account| {
            let mut attached = account
                .things
                .iter()
                .filter(|(_, thing)| thing.principals.contains(certificate))
                .map(|(name, _)| name)
                .peekable();
            let first = attached.peek().map(|name| (*name).clone());
            attached.find(|name| *name == client_id).cloned().or(first)
        })
    }

    /// The thing of a client id as the policy evaluator sees it when the certificate connects.
    pub(in crate::broker) fn thing_of(
        &self,
        client_id: &str,
        certificate: &Fingerprint,
    ) -> Option<Thing> {
        self.read(|account| {
            let thing = account.things.get(client_id)?;
            Some(thing.seen_by(client_id, certificate))
        })
    }
}

fn both<'a>(
    account: &'a mut Account,
    thing: &str,
    certificate: &Fingerprint,
) -> Result<&'a mut RegisteredThing, RegistryError> {
    account.certificate(certificate)?;
    account.thing(thing)
}

fn check_version(
    name: &str,
    thing: &RegisteredThing,
    expected: Option<i64>,
) -> Result<(), RegistryError> {
    match expected {
        Some(expected) if expected != thing.version => Err(RegistryError::ThingVersion {
            name: name.to_owned(),
            version: thing.version,
        }),
        _ => Ok(()),
    }
}

fn check_attributes(name: &str, thing: &RegisteredThing) -> Result<(), RegistryError> {
    let limit = match thing.type_name {
        None => THING_ATTRIBUTES,
        Some(_) => TYPED_THING_ATTRIBUTES,
    };
    if thing.attributes.len() > limit {
        return Err(RegistryError::TooManyAttributes {
            name: name.to_owned(),
            limit,
        });
    }
    Ok(())
}
