//! Everything that is wrong with a set, for who looks for faults; a session is told the first thing only.

use jiff::{SignedDuration, Timestamp};

use super::certificate::{self, Description};
use super::content;
use super::error::{IdentityError, Role};
use super::key;
use super::location::{self, Files, Location};
use super::{Identity, subject_and_issuer};

/// What a set is, as far as it can be told.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The paths of the set, if they are known.
    pub files: Option<Files>,
    /// All problems, in the order certificate, key, CA, pair, dates.
    pub problems: Vec<IdentityError>,
    /// The client certificate, if it can be read.
    pub certificate: Option<Description>,
    /// Subject and issuer of each certificate that is sent, leaf first.
    pub chain: Vec<(String, String)>,
    /// The subjects of the CA file.
    pub authorities: Vec<String>,
    /// The set, if nothing is wrong with it but its dates.
    pub identity: Option<Identity>,
}

/// Looks at the whole set at `location` as of `now`.
pub fn inspect(location: &Location, now: Timestamp) -> Inspection {
    let mut seen = Inspection::default();
    match Identity::load(location, now) {
        Ok(identity) => seen.identity = Some(identity),
        // Each of them is a moment at which the same set is valid.
        Err(IdentityError::Expired { not_after, .. }) => {
            let before = not_after - SignedDuration::from_secs(1);
            seen.identity = Identity::load(location, before).ok();
        }
        Err(IdentityError::NotYetValid { not_before, .. }) => {
            seen.identity = Identity::load(location, not_before).ok();
        }
        Err(_) => {}
    }
    match location.files() {
        Ok(files) => seen.parts(files, now),
        Err(error) => seen.problems.push(error),
    }
    seen
}

// === impl Inspection ===

impl Inspection {
    fn parts(&mut self, files: Files, now: Timestamp) {
        let certificate = location::read(Role::Certificate, &files.certificate)
            .and_then(|bytes| content::certificates(Role::Certificate, &files.certificate, &bytes));
        let key = location::read(Role::Key, &files.key)
            .and_then(|bytes| content::private_key(&files.key, &bytes));
        let ca = location::read_ca(&files.ca)
            .and_then(|bytes| content::certificates(Role::Ca, &files.ca, &bytes));
        if let Ok(chain) = &certificate {
            self.chain = chain.iter().filter_map(subject_and_issuer).collect();
            match certificate::check_client(&files.certificate, chain) {
                Ok(description) => self.certificate = Some(description),
                Err(error) => self.problems.push(error),
            }
        }
        if let Ok(all) = &ca {
            let subjects = all.iter().filter_map(subject_and_issuer);
            self.authorities = subjects.map(|(subject, _)| subject).collect();
        }
        // A set that loads may have been swapped meanwhile: it is one of the good moments.
        if self.identity.is_none() {
            let pair = match (&certificate, &key) {
                // One that is no client certificate has no key of ours: that it does not match is no news.
                (Ok(chain), Ok(key)) if self.certificate.is_some() => {
                    key::check(&files, key, chain).err()
                }
                _ => None,
            };
            let authorities = match &ca {
                Ok(all) => certificate::check_ca(&files.ca, all).err(),
                Err(_) => None,
            };
            let unread = [certificate.err(), key.err(), ca.err(), authorities, pair];
            for error in unread.into_iter().flatten() {
                // The certificate's own problem is also one of the pair.
                let known = self
                    .problems
                    .iter()
                    .any(|it| it.to_string() == error.to_string());
                if !known {
                    self.problems.push(error);
                }
            }
        }
        if let Some(description) = &self.certificate {
            let dates = certificate::check_dates(&files.certificate, description, now);
            self.problems.extend(dates.err());
        }
        self.files = Some(files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_is_wrong_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        put("certificate", "-----BEGIN CERTIFICATE-----\nMIIB");
        put("privateKey", "");
        put("ca.crt", "{\"ca\": 1}");
        let location = Location::Directory(directory.path().to_owned());
        let seen = inspect(&location, Timestamp::UNIX_EPOCH);
        let problems: Vec<String> = seen.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("truncated"), "{problems:?}");
        assert!(problems[1].contains("empty file"), "{problems:?}");
        assert!(problems[2].contains("JSON object"), "{problems:?}");
        assert!(seen.identity.is_none() && seen.files.is_some());
    }
}
