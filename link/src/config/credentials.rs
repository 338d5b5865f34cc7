//! The client certificate, its key and the CA as the configuration names them, by file or as data.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::layers::{Layers, Setting};
use super::problem::ConfigProblem;
use super::value::{Invalid, Scalar};

/// One piece of PEM: where it is, or the text itself. `Debug` never shows the text.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// A file.
    File(PathBuf),
    /// The PEM text, from a `…Data` key.
    Pem(String),
}

/// What mutual TLS needs. Nothing is read from the files yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerCredentials {
    /// The client certificate with its chain.
    pub certificate: Material,
    /// Its private key.
    pub key: Material,
    /// The CA that the broker's certificate must descend from.
    pub ca: Material,
}

// === impl Material ===

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Pem(_) => f.write_str("Pem(..)"),
        }
    }
}

// === impl BrokerCredentials ===

impl BrokerCredentials {
    /// Certificate, key and CA as files; `None` when any of them is given as data.
    pub fn files(&self) -> Option<[&Path; 3]> {
        match (&self.certificate, &self.key, &self.ca) {
            (Material::File(certificate), Material::File(key), Material::File(ca)) => {
                Some([certificate, key, ca])
            }
            _ => None,
        }
    }

    /// Reads the six keys. `None` when none of them is given (the identity comes from elsewhere, such as a mounted
    /// directory) or when something is refused.
    ///
    /// Upstream leaves TLS off, without an error, when only a CA is given (docs/MAESTRO.md §1.5); here any incomplete
    /// set is refused.
    pub(super) fn read(layers: &mut Layers) -> Option<Self> {
        let given =
            |layers: &Layers, names: [&str; 2]| names.iter().any(|name| layers.is_given(name));
        let has_ca = given(layers, ["caFile", "caData"]);
        let has_certificate = given(layers, ["clientCertFile", "clientCertData"]);
        let has_key = given(layers, ["clientKeyFile", "clientKeyData"]);
        let ca = material(layers, "caFile", "caData");
        let certificate = material(layers, "clientCertFile", "clientCertData");
        let key = material(layers, "clientKeyFile", "clientKeyData");

        let refusal = match (has_ca, has_certificate, has_key) {
            (true, false, false) => Some((
                ["caFile", "caData"],
                "is given without a client certificate, so TLS would silently be off",
                "add `clientCertFile` and `clientKeyFile`",
            )),
            (_, true, false) => Some((
                ["clientCertFile", "clientCertData"],
                "is given without its key",
                "add `clientKeyFile`",
            )),
            (_, false, true) => Some((
                ["clientKeyFile", "clientKeyData"],
                "is given without its certificate",
                "add `clientCertFile`",
            )),
            (false, true, true) => Some((
                ["clientCertFile", "clientCertData"],
                "is given without the CA of the broker",
                "add `caFile`, for AWS IoT Core with Amazon Root CA 1",
            )),
            (true, true, true) | (false, false, false) => None,
        };
        if let Some((names, what, fix)) = refusal {
            let name = names.into_iter().find(|name| layers.is_given(name))?;
            let origin = layers.origin(name).cloned();
            layers.problem(ConfigProblem::new(
                origin,
                format!("`{name}` {what}"),
                fix.to_owned(),
            ));
            return None;
        }
        Some(Self {
            certificate: certificate?,
            key: key?,
            ca: ca?,
        })
    }
}

/// Data wins over the file, as upstream has it (docs/MAESTRO.md §1.5).
fn material(layers: &mut Layers, file: &str, data: &str) -> Option<Material> {
    if layers.is_given(data) {
        let Setting { value, .. } = layers.read(data, pem)?;
        return Some(Material::Pem(value));
    }
    layers
        .read_path(file)
        .map(|setting| Material::File(setting.value))
}

fn pem(value: &Scalar) -> Result<String, Invalid> {
    let refuse = |what: &str| {
        Invalid::new(
            what,
            "write the PEM text in Base64, as `base64 -w0 FILE` prints it",
        )
    };
    let text = value.text()?;
    if text.contains("-----BEGIN") {
        return Err(refuse("is PEM itself, not Base64 of it"));
    }
    let compact: String = text.split_whitespace().collect();
    let bytes = STANDARD
        .decode(compact)
        .map_err(|_| refuse("is not Base64"))?;
    match String::from_utf8(bytes) {
        Ok(pem) if pem.contains("-----BEGIN") => Ok(pem),
        _ => Err(refuse("is Base64, but not of PEM text")),
    }
}
