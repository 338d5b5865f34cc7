//! Every refusal, read as the message and hint a person would see.

mod fitness;
mod properties;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::KeyPair;
use tempfile::TempDir;

use super::fixture::{Ca, Set, client_params, inside_pkcs8, now, pem, replace};
use super::*;
use crate::error::{Hint as _, chain};

/// The message with the directory shown as `DIR`, then the hint.
fn refusal(location: &Location, directory: &Path) -> String {
    let error = Identity::load(location, now()).expect_err("a refusal");
    let hint = error.hint().expect("a hint");
    format!("{}\nhint: {hint}", chain(&error)).replace(&directory.display().to_string(), "DIR")
}

fn refusal_in(directory: &TempDir) -> String {
    refusal(
        &Location::Directory(directory.path().into()),
        directory.path(),
    )
}

fn refusal_with(file: &str, content: impl AsRef<[u8]>) -> String {
    let directory = Ca::new("root").client("agent").in_directory();
    replace(directory.path(), file, content);
    refusal_in(&directory)
}

fn load(set: &Set) -> Result<Identity, IdentityError> {
    let directory = set.in_directory();
    Identity::load(&Location::Directory(directory.path().into()), now())
}

#[test]
fn a_good_set_loads_and_describes_itself() {
    let mut params = client_params("mc-01");
    params.serial_number = Some(vec![0x00, 0xab, 0x01].into());
    let set = Ca::new("root").issue(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
    let identity = load(&set).unwrap();
    let description = identity.describe();
    let text = description
        .to_string()
        .replace(&description.fingerprint, "FINGERPRINT");
    insta::assert_snapshot!(text, @"`CN=mc-01` (EC P-256), serial ab01, sha256 FINGERPRINT, issued by `CN=root`, valid 2026-11-01T00:00:00Z to 2027-11-01T00:00:00Z");
    assert_eq!(description.fingerprint.len(), 64);
    assert_eq!(description.time_left(now()).as_hours() / 24, 341);
    assert_eq!(identity.ca_subjects(), ["CN=root"]);
    assert_eq!(identity.certificate_chain().len(), 1);
}

#[test]
fn a_set_in_memory_is_checked_as_one_in_files() {
    let (one, other) = (Ca::new("root").client("a"), Ca::new("root").client("b"));
    let check = |key: &str| Identity::from_pem("memory", &one.certificate, key, &one.ca, now());
    let in_files = load(&one).unwrap();
    assert_eq!(check(&one.key).unwrap().digest(), in_files.digest());
    let error = check(&other.key).unwrap_err();
    assert!(
        matches!(error, IdentityError::KeyMismatch { .. }),
        "{error}"
    );
}

#[test]
fn both_pairs_of_names_and_explicit_files_are_understood() {
    let set = Ca::new("root").client("agent");
    let directory = tempfile::tempdir().unwrap();
    set.driver_writes(directory.path(), "1");
    let by_directory =
        Identity::load(&Location::Directory(directory.path().into()), now()).unwrap();
    let by_file = Identity::load(
        &Location::Files {
            certificate: directory.path().join("tls.crt"),
            key: directory.path().join("tls.key"),
            ca: directory.path().join("ca.crt"),
        },
        now(),
    )
    .unwrap();
    assert_eq!(by_directory.describe(), by_file.describe());
    assert_eq!(by_directory.digest(), by_file.digest());
}

#[test]
fn keys_load_in_every_accepted_kind_and_encoding() {
    let ca = Ca::new("root");
    for (algorithm, kind, traditional) in [
        (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P256,
            "EC PRIVATE KEY",
        ),
        (
            &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::P384,
            "EC PRIVATE KEY",
        ),
        (
            &rcgen::PKCS_RSA_SHA256,
            KeyKind::Rsa(2048),
            "RSA PRIVATE KEY",
        ),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut set = ca.sign(&client_params("agent"), &key);
        // `openssl ecparam -genkey` puts the parameters in front, and Windows ends its lines in two characters.
        let parameters = pem("EC PARAMETERS", &[6, 1, 0]);
        for encoding in [
            pem("PRIVATE KEY", key.serialized_der()),
            pem(traditional, &inside_pkcs8(key.serialized_der())),
            parameters + &pem(traditional, &inside_pkcs8(key.serialized_der())),
            key.serialize_pem().replace('\n', "\r\n"),
        ] {
            set.key = encoding;
            assert_eq!(load(&set).unwrap().describe().key_kind, kind);
        }
    }
}

#[test]
fn a_missing_directory_or_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = Location::Directory(directory.path().join("nowhere"));
    insta::assert_snapshot!(refusal(&nowhere, directory.path()), @r"
    identity directory `DIR/nowhere` does not exist
    hint: check that the secret volume is mounted at `DIR/nowhere`, or name the three files one by one
    ");
    insta::assert_snapshot!(refusal_in(&directory), @r"
    `DIR` holds no identity: neither `certificate` and `privateKey` nor `tls.crt` and `tls.key`; it is empty
    hint: check the `objectAlias` names in the SecretProviderClass, or name the three files one by one
    ");
    fs::write(directory.path().join("bundle.json"), "{}").unwrap();
    fs::write(directory.path().join("ca.crt"), "").unwrap();
    insta::assert_snapshot!(refusal_in(&directory), @r"
    `DIR` holds no identity: neither `certificate` and `privateKey` nor `tls.crt` and `tls.key`; found `bundle.json`, `ca.crt`
    hint: check the `objectAlias` names in the SecretProviderClass, or name the three files one by one
    ");
    fs::write(directory.path().join("tls.crt"), "").unwrap();
    insta::assert_snapshot!(refusal_in(&directory), @r"
    private key file `DIR/tls.key` does not exist
    hint: add the private key to the secret and to `objects` in the SecretProviderClass, or correct the path
    ");
    fs::create_dir(directory.path().join("tls.key")).unwrap();
    insta::assert_snapshot!(refusal_in(&directory), @r"
    private key `DIR/tls.key` is not a regular file
    hint: put the private key there as a PEM file
    ");
    let file = Location::Directory(directory.path().join("ca.crt"));
    insta::assert_snapshot!(refusal(&file, directory.path()), @r"
    list identity directory `DIR/ca.crt`: Not a directory (os error 20)
    hint: check that the secret volume is mounted at `DIR/ca.crt`, or name the three files one by one
    ");
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let directory = Ca::new("root").client("agent").in_directory();
    let key = directory.path().join("privateKey");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&key).is_ok() {
        // The superuser reads everything; the wording is what is left to look at.
        let error = IdentityError::Denied {
            role: Role::Key,
            path: "/mnt/privateKey".into(),
        };
        insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r"
        permission denied on private key file `/mnt/privateKey`
        hint: let the user of this process read `/mnt/privateKey`: on a secret volume set `fsGroup` and check `filePermission`
        ");
        return;
    }
    assert!(
        refusal_in(&directory)
            .starts_with("permission denied on private key file `DIR/privateKey`")
    );
}

#[test]
fn what_is_not_pem_is_classified_and_never_quoted() {
    let set = Ca::new("root").client("agent");
    let escaped = set.key.replace('\n', "\\n");
    let one_line = set.key.replace('\n', " ");
    let indented = set
        .key
        .replace('\n', "\n  ")
        .replace("-----BEGIN", "  -----BEGIN");
    let truncated = &set.key[..set.key.len() - 30];
    let mangled = set.key.replacen("\nM", "\n!", 1);
    let marked = format!("\u{feff}{}", set.key);
    let json = format!(r#"{{"privateKey": "{escaped}"}}"#);
    let string = format!("\"{escaped}\"");
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &set.key);
    let der = inside_pem(&set.key);
    let cases: [(&str, &[u8]); 14] = [
        ("empty", b""),
        ("blank", b" \n\t\n"),
        ("json", json.as_bytes()),
        ("string", string.as_bytes()),
        ("der", &der),
        ("binary", b"\x7fELF\x01\xff\xfe"),
        ("escaped", escaped.as_bytes()),
        ("one line", one_line.as_bytes()),
        ("indented", indented.as_bytes()),
        ("bom", marked.as_bytes()),
        ("base64", base64.as_bytes()),
        ("truncated", truncated.as_bytes()),
        ("mangled", mangled.as_bytes()),
        ("text", b"hunter2, the password"),
    ];
    let mut report = String::new();
    for (name, content) in cases {
        let text = refusal_with("privateKey", content);
        assert!(
            !text.contains("hunter2") && !text.contains(&set.key[40..60]),
            "{text}"
        );
        report += &format!("[{name}] {text}\n");
    }
    insta::assert_snapshot!(report, @r"
    [empty] no private key in `DIR/privateKey`: empty file
    hint: check that the secret has a value for the private key and that the volume has been filled
    [blank] no private key in `DIR/privateKey`: nothing but white space
    hint: check that the secret has a value for the private key and that the volume has been filled
    [json] no private key in `DIR/privateKey`: JSON object
    hint: pick the private key out of the secret with `jmesPath` and `objectAlias` in the SecretProviderClass; without them the whole secret becomes the file
    [string] no private key in `DIR/privateKey`: JSON string
    hint: pick the private key out of the secret with `jmesPath` and `objectAlias` in the SecretProviderClass; without them the whole secret becomes the file
    [der] no private key in `DIR/privateKey`: binary, looks like DER
    hint: convert the private key to PEM with `openssl ... -inform DER -outform PEM`
    [binary] no private key in `DIR/privateKey`: binary, not text
    hint: put the PEM of the private key there, starting with `-----BEGIN`
    [escaped] no private key in `DIR/privateKey`: PEM whose line breaks are the two characters `\n`
    hint: store the private key with the line breaks it was made with and nothing in front of its lines
    [one line] no private key in `DIR/privateKey`: PEM whose line breaks are gone
    hint: store the private key with the line breaks it was made with and nothing in front of its lines
    [indented] no private key in `DIR/privateKey`: PEM with white space before its lines
    hint: store the private key with the line breaks it was made with and nothing in front of its lines
    [bom] no private key in `DIR/privateKey`: PEM behind a byte order mark
    hint: store the private key with the line breaks it was made with and nothing in front of its lines
    [base64] no private key in `DIR/privateKey`: base64 of a PEM file
    hint: decode the private key with `base64 -d` before storing it
    [truncated] no private key in `DIR/privateKey`: truncated PEM: BEGIN PRIVATE KEY without END
    hint: store the private key again, whole and with its last line
    [mangled] no private key in `DIR/privateKey`: PEM of kind PRIVATE KEY with a damaged body
    hint: store the private key again, whole and with its last line
    [text] no private key in `DIR/privateKey`: not PEM: starts with text
    hint: put the PEM of the private key there, starting with `-----BEGIN`
    ");
}

#[test]
fn the_wrong_kind_of_pem_is_named_in_each_file() {
    let set = Ca::new("root").client("agent");
    let swapped = [
        refusal_with("privateKey", &set.certificate),
        refusal_with("certificate", &set.key),
        refusal_with("ca.crt", pem("PUBLIC KEY", b"x")),
        refusal_with("ca.crt", ""),
        refusal_with("certificate", "{\"certificate\": "),
        refusal_with("privateKey", pem("OPENSSH PRIVATE KEY", b"x")),
        refusal_with("privateKey", pem("hunter2", b"x")),
        refusal_with("certificate", pem("CERTIFICATE", b"not a certificate")),
        refusal_with("privateKey", pem("PRIVATE KEY", b"not a key")),
        refusal_with("certificate", vec![b' '; 2 * 1024 * 1024]),
    ];
    insta::assert_snapshot!(swapped.join("\n"), @r"
    no private key in `DIR/privateKey`: PEM of kind CERTIFICATE where a private key was expected
    hint: check that the files are not swapped and put the private key there
    no certificate in `DIR/certificate`: PEM of kind PRIVATE KEY where a certificate was expected
    hint: check that the files are not swapped and put the certificate there
    no CA certificate in `DIR/ca.crt`: PEM of kind PUBLIC KEY where a CA certificate was expected
    hint: check that the files are not swapped and put the CA certificate there
    no CA certificate in `DIR/ca.crt`: empty file
    hint: check that the secret has a value for the CA certificate and that the volume has been filled
    no certificate in `DIR/certificate`: JSON object
    hint: pick the certificate out of the secret with `jmesPath` and `objectAlias` in the SecretProviderClass; without them the whole secret becomes the file
    no private key in `DIR/privateKey`: PEM of kind OPENSSH PRIVATE KEY where a private key was expected
    hint: check that the files are not swapped and put the private key there
    no private key in `DIR/privateKey`: PEM of kind (unknown) where a private key was expected
    hint: check that the files are not swapped and put the private key there
    certificate 1 in `DIR/certificate` cannot be parsed
    hint: store the certificate again, whole and unedited
    private key in `DIR/privateKey` cannot be parsed
    hint: store the key again as PKCS#8, PKCS#1 (RSA) or SEC1 (EC) in PEM, whole and unedited
    certificate file `DIR/certificate` is larger than 1048576 bytes
    hint: put only the PEM of the certificate there
    ");
}

#[test]
fn an_encrypted_key_is_refused() {
    let traditional = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    insta::assert_snapshot!(refusal_with("privateKey", pem("ENCRYPTED PRIVATE KEY", b"x")), @r"
    private key in `DIR/privateKey` is encrypted with a passphrase
    hint: store the key without a passphrase: `openssl pkey -in KEY -out NEWKEY`; nobody is there to type it
    ");
    assert!(refusal_with("privateKey", traditional).contains("is encrypted with a passphrase"));
}

#[test]
fn debug_shows_no_key() {
    let set = Ca::new("root").client("agent");
    let text = format!("{:?}", load(&set).unwrap());
    assert!(text.contains("key: \"...\""), "{text}");
    let body = set.key.lines().nth(1).unwrap();
    assert!(!text.contains(body), "{text}");
}

fn inside_pem(text: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject as _;
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .unwrap()
        .secret_der()
        .to_vec()
}
