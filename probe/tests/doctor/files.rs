//! Faults of the files, each with real ones.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use super::pki::{Authority, Pair, authority, good, leaf, mount, put};
use super::servers::Tls;
use super::{Run, at, command, doctor, doctor_in, in_namespace, inside, text};

struct Bed {
    ca: Authority,
    client: Pair,
    port: String,
}

impl Bed {
    fn new() -> Self {
        let ca = authority("the CA");
        let server = good(&ca);
        Self {
            port: Tls::new(&server).start(),
            client: good(&ca),
            ca,
        }
    }

    /// A good mount, and what was done to it.
    fn with(&self, harm: impl FnOnce(&Path)) -> Run {
        let directory = mount(&self.ca, &self.client);
        harm(directory.path());
        doctor(&at(&self.port, directory.path()))
    }

    #[track_caller]
    fn wrong(&self, code: &str, words: &[&str], harm: impl FnOnce(&Path)) {
        let seen = self.with(harm).has(&[(code, "error")]);
        for word in words {
            assert!(seen.contains(word), "`{seen}` lacks `{word}`");
        }
    }
}

#[test]
fn each_fault_of_a_file_has_its_code_with_path_size_and_kind_and_no_content() {
    let bed = Bed::new();
    let cut = |pem: &str| pem[..pem.len() / 2].to_owned();
    bed.wrong("MQ101", &["privateKey", "does not exist"], |at| {
        std::fs::remove_file(at.join("privateKey")).unwrap();
    });
    bed.wrong("MQ102", &["certificate", "empty file", "(0 bytes"], |at| {
        put(at, "certificate", "");
    });
    bed.wrong(
        "MQ102",
        &["certificate", "truncated PEM: BEGIN CERTIFICATE"],
        |at| put(at, "certificate", cut(&bed.client.certificate)),
    );
    bed.wrong(
        "MQ102",
        &["privateKey", "truncated PEM", "PRIVATE KEY"],
        |at| put(at, "privateKey", cut(&bed.client.key)),
    );
    bed.wrong("MQ103", &["privateKey", "JSON object", "bytes"], |at| {
        put(at, "privateKey", "{\"privateKey\": \"CANARY\"}");
    });
    bed.wrong("MQ103", &["ca.crt", "binary"], |at| {
        put(at, "ca.crt", [0x30, 0x82, 1, 2, 0xff]);
    });
    bed.wrong("MQ103", &["certificate", "PEM of kind"], |at| {
        put(at, "certificate", &bed.client.key);
    });
    bed.wrong("MQ103", &["certificate", "not a regular file"], |at| {
        std::fs::remove_file(at.join("certificate")).unwrap();
        std::fs::create_dir(at.join("certificate")).unwrap();
    });
    bed.wrong("MQ111", &["does not match"], |at| {
        put(at, "privateKey", &good(&bed.ca).key);
    });
    bed.wrong("MQ110", &["encrypted"], |at| {
        put(
            at,
            "privateKey",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
    });
    bed.wrong("MQ110", &["is a CA certificate"], |at| {
        put(at, "certificate", bed.ca.pem());
    });
    bed.wrong("MQ223", &["ca.crt", "is not a CA"], |at| {
        put(at, "ca.crt", &bed.client.certificate);
    });
    // Every file that is wrong is told, not only the first one.
    let all = bed.with(|at| {
        put(at, "certificate", "");
        put(at, "privateKey", "{}");
        std::fs::remove_file(at.join("ca.crt")).unwrap();
    });
    all.has(&[("MQ102", "error"), ("MQ103", "error"), ("MQ101", "error")]);
    assert!(
        all.found().contains(&("MQ220", "info")) && all.found().contains(&("MQ210", "ok")),
        "{}",
        all.all
    );
}

#[test]
fn a_file_that_may_not_or_cannot_be_read_is_told_from_one_that_is_wrong() {
    let bed = Bed::new();
    let directory = mount(&bed.ca, &bed.client);
    let key = directory.path().join("privateKey");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, unless it has given that right away.
    let is_root = std::fs::metadata(&key).unwrap().uid() == 0;
    let without: &[&str] = match is_root {
        true => &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        false => &[],
    };
    let run = inside(without, &[], &at(&bed.port, directory.path()));
    let seen = run.has(&[("MQ104", "error")]);
    assert!(seen.contains("privateKey"), "{seen}");
    // A regular file whose content is not to be had, as on a disk that fails: the memory of a process at its address 0.
    std::fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &key).unwrap();
    let seen = doctor(&at(&bed.port, directory.path())).has(&[("MQ100", "error")]);
    assert!(seen.contains("privateKey"), "{seen}");
}

#[test]
fn a_kind_of_key_that_aws_does_not_take_is_told() {
    let bed = Bed::new();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &bed.ca).unwrap().pem();
    bed.wrong("MQ114", &["Ed25519"], |at| {
        put(at, "certificate", &certificate);
        put(at, "privateKey", key.serialize_pem());
    });
}

#[test]
fn files_that_are_mounted_one_by_one_are_said_to_grow_stale() {
    let bed = Bed::new();
    let directory = mount(&bed.ca, &bed.client);
    let other = directory.path().join("of-the-secret");
    let certificate = directory.path().join("certificate");
    std::fs::copy(&certificate, &other).unwrap();
    // As the kubelet does it for a `subPath`.
    let bind = format!(
        "mount --bind '{}' '{}'",
        other.display(),
        certificate.display()
    );
    let run = in_namespace("-rm", &bind, &at(&bed.port, directory.path()));
    let seen = run.has(&[("MQ105", "warning")]);
    assert!(
        seen.contains("certificate") && seen.contains("subPath"),
        "{seen}"
    );
}

#[test]
fn dates_are_told_and_the_broker_is_asked_all_the_same() {
    let bed = Bed::new();
    let dated = |from, until| {
        let pair = leaf(&bed.ca, &["a"], from, until);
        bed.with(|at| {
            put(at, "certificate", &pair.certificate);
            put(at, "privateKey", &pair.key);
        })
    };
    let over = dated(-20, -10);
    let seen = over.has(&[("MQ112", "error")]);
    assert!(
        seen.contains("expired at") && seen.contains("the clock here shows"),
        "{seen}"
    );
    assert!(over.found().contains(&("MQ220", "ok")), "{}", over.all);
    let seen = dated(10, 20).has(&[("MQ112", "error")]);
    assert!(seen.contains("not valid before"), "{seen}");
    let seen = dated(-10, 20).has(&[("MQ113", "warning")]);
    assert!(
        seen.contains("in 19 days") || seen.contains("in 20 days"),
        "{seen}"
    );
    dated(-10, 32).has(&[]);
}

#[test]
fn a_file_of_the_most_bytes_is_read_and_one_byte_more_is_not() {
    let bed = Bed::new();
    let padded = |size: usize| {
        let mut text = bed.ca.pem();
        text.push_str(&"#".repeat(size - text.len() - 1));
        text.push('\n');
        text
    };
    let most = 1024 * 1024;
    bed.with(|at| put(at, "ca.crt", padded(most))).has(&[]);
    bed.wrong(
        "MQ103",
        &["ca.crt", "larger than 1048576 bytes", "(1048577 bytes"],
        |at| put(at, "ca.crt", padded(most + 1)),
    );
}

#[test]
fn a_missing_or_empty_mount_is_told_as_a_pod_sees_it() {
    let bed = Bed::new();
    let scratch = tempfile::tempdir().unwrap();
    let nowhere = scratch.path().join("nowhere");
    doctor(&at(&bed.port, &nowhere)).has(&[("MQ101", "error")]);
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let run = doctor_in(&pod, &at(&bed.port, &nowhere));
    run.has(&[("MQ610", "error")]);
    assert!(
        run.all.contains("association") && run.all.contains("kubectl describe pod"),
        "{}",
        run.all
    );
    // The synced Secret is not there yet.
    doctor_in(&pod, &at(&bed.port, scratch.path())).has(&[("MQ605", "error")]);
    doctor(&at(&bed.port, scratch.path())).has(&[("MQ101", "error")]);
    // Names of another provider.
    put(scratch.path(), "cert.pem", "x");
    doctor_in(&pod, &at(&bed.port, scratch.path())).has(&[("MQ101", "error")]);
}

#[test]
fn what_the_configuration_lacks_is_a_finding_and_what_the_line_lacks_is_usage() {
    let bed = Bed::new();
    let directory = mount(&bed.ca, &bed.client);
    let identity = directory.path().to_str().unwrap();
    // No broker anywhere.
    doctor(&["--identity", identity]).has(&[("MQ106", "error")]);
    put(
        directory.path(),
        "config.yaml",
        "brokerHost: localhost:1\nkeepAlive: many\n",
    );
    let seen = doctor(&["--identity", identity]).has(&[("MQ106", "error")]);
    assert!(seen.contains("keepAlive"), "{seen}");
    put(
        directory.path(),
        "config.yaml",
        format!("brokerHost: localhost:{}\n", bed.port),
    );
    doctor(&["--identity", identity]).has(&[]);
    put(directory.path(), "consumerName", "Not A Name");
    doctor(&["--identity", identity]).has(&[("MQ106", "error")]);
    doctor(&["--config", "/nowhere.yaml", "--identity", identity])
        .has(&[("MQ101", "error"), ("MQ106", "error")]);
    let usage = command(&[])
        .arg("-i")
        .arg("a b")
        .args(["-h", "localhost", "--identity", identity])
        .output()
        .unwrap();
    assert_eq!(usage.status.code(), Some(2), "{}", text(&usage));
}

#[test]
fn a_ca_for_an_api_without_tls_is_refused_before_anything_is_looked_at() {
    for verb in [&["doctor", "-h", "localhost"][..], &["watch", "--once"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_probe"))
            .args(verb)
            .args(["--api", "http://127.0.0.1:1", "--api-ca", "/nowhere"])
            .env_clear()
            .output()
            .unwrap();
        let all = text(&output);
        assert_eq!(output.status.code(), Some(2), "{verb:?}: {all}");
        for part in ["`--api-ca`", "`http://127.0.0.1:1`", "hint: ", "https://"] {
            assert!(all.contains(part), "{verb:?}: no `{part}` in {all}");
        }
        assert!(output.stdout.is_empty(), "{verb:?}: {all}");
    }
}

#[test]
fn a_key_that_others_may_read_is_a_warning_on_a_disk() {
    let bed = Bed::new();
    let run = bed.with(|at| {
        std::fs::set_permissions(
            at.join("privateKey"),
            std::fs::Permissions::from_mode(0o644),
        )
        .unwrap();
    });
    let seen = run.has(&[("MQ107", "warning")]);
    assert!(seen.contains("0644"), "{seen}");
}
