use super::*;
use crate::error::Hint;

#[derive(clap::Parser)]
#[command(name = "agent", version = version(), subcommand_negates_reqs = true)]
struct Args {
    #[arg(long)]
    consumer_name: String,
    // Quotes what it refuses, as parsers do.
    #[arg(long, value_parser = count)]
    count: Option<u32>,
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

#[derive(Debug, thiserror::Error)]
#[error("connect to `mqtts://iot.example:8883`")]
struct Connect(#[source] io::Error);

impl Hint for Connect {
    fn hint(&self) -> Option<String> {
        Some("run `probe doctor` to see which step fails".into())
    }
}

fn run<F, T>(arguments: &[&str], work: impl FnOnce(Args) -> F) -> (u8, String, String)
where
    F: Future<Output = Result<T, Failure>>,
    T: Exit,
{
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let streams = Streams {
        out: &mut out,
        err: &mut err,
    };
    let code = execute("agent", arguments.iter().map(Into::into), streams, work);
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

async fn succeed(_: Args) -> Result<(), Failure> {
    Ok(())
}

const GOOD: &[&str] = &["agent", "--consumer-name", "cluster1"];

#[test]
fn failure_is_printed_once_with_its_chain_and_hint() {
    let (code, out, err) = run(GOOD, async |_| -> Result<(), Failure> {
        Err(Connect(io::Error::other("connection refused")).into())
    });
    assert_eq!(code, 1);
    assert_eq!(out, "");
    assert_eq!(
        err,
        "agent: connect to `mqtts://iot.example:8883`: connection refused\n\
         hint: run `probe doctor` to see which step fails\n"
    );
}

#[test]
fn a_failure_s_words_are_no_commands_for_the_terminal() {
    let (_, _, err) = run(GOOD, async |_| -> Result<(), Failure> {
        let failure = Failure::new(ExitKind::Failed, "it said \u{1b}[2J\u{202e}:\n  two");
        Err(failure.with_hint("look\u{7} there".to_owned()))
    });
    assert_eq!(
        err,
        "agent: it said \u{fffd}[2J\u{fffd}:\n  two\nhint: look\u{fffd} there\n"
    );
}

#[test]
fn exit_codes_follow_the_kind_of_the_failure() {
    for (kind, expected) in [
        (ExitKind::Failed, 1),
        (ExitKind::Usage, 2),
        (ExitKind::Timeout, 3),
        (ExitKind::Refused, 4),
    ] {
        let (code, _, err) = run(GOOD, async |_| -> Result<(), Failure> {
            Err(Failure::new(kind, "no answer"))
        });
        assert_eq!((code, err.as_str()), (expected, "agent: no answer\n"));
    }
}

#[test]
fn outcome_that_is_already_printed_only_sets_the_code() {
    let (code, _, err) = run(GOOD, async |args| {
        assert_eq!(args.consumer_name, "cluster1");
        Ok(Some(ExitKind::Refused))
    });
    assert_eq!((code, err.as_str()), (4, ""));
    assert_eq!(run(GOOD, succeed).0, 0);
}

#[test]
fn wrong_command_line_is_exit_code_2_on_standard_error() {
    let (code, out, err) = run(&["agent", "--consumer-nam", "c"], succeed);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("a similar argument exists: '--consumer-name'"),
        "{err}"
    );
}

#[test]
fn what_may_be_a_secret_is_not_quoted_and_what_is_a_slip_is() {
    // Each is refused in another way of the parser's.
    for line in [
        "agent --consumer-name c u:s3cret@h",
        "agent --consumer-name c password=s3cret",
        "agent --consumer-name=c -u:s3cret@h",
        "agent --u:s3cret@h",
        "agent completions s3cret@h",
        "agent completions bash s3cret",
        "agent completions bash --u:s3cret@h",
        "agent completions bash -- s3cret",
        "agent completions bash --help=s3cret",
        "agent help s3cret@h",
        "agent --count u:s3cret@h",
        "agent --count mqtts://u:s3cret@h",
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        let (code, out, err) = run(&arguments, succeed);
        assert_eq!((code, out.as_str()), (2, ""), "{line}: {err}");
        assert!(err.starts_with("error: "), "{line}: {err}");
        assert!(!err.contains("s3cret"), "{line}: {err}");
    }
    for (line, word) in [
        ("agent complete", "'complete'"),
        ("agent completions tcsh", "'tcsh'"),
        ("agent --consumer c", "'--consumer'"),
        ("agent --consumer-name c -- completions", "'completions'"),
        ("agent --count many", "'many'"),
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        let (code, _, err) = run(&arguments, succeed);
        assert_eq!(code, 2, "{line}: {err}");
        assert!(err.contains(word), "{line}: {err}");
    }
}

#[test]
fn help_and_version_are_data_on_standard_output() {
    let (code, out, err) = run(&["agent", "--version"], succeed);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("agent {}\n", version()));
    let (code, out, _) = run(&["agent", "--help"], succeed);
    assert_eq!(code, 0);
    assert!(out.contains("--consumer-name"), "{out}");
}

#[test]
fn version_names_commit_and_date_of_a_build_that_was_told_them() {
    let told = version_text("1.2.3", &[Some("abc1234"), Some("2026-11-29")]);
    assert_eq!(told, "1.2.3 (abc1234, 2026-11-29)");
    assert_eq!(
        version_text("1.2.3", &[Some("abc1234"), None]),
        "1.2.3 (abc1234)"
    );
    assert_eq!(version_text("1.2.3", &[None, None]), "1.2.3 (dev)");
}

#[test]
fn every_binary_completes_its_own_flags() {
    let (code, out, err) = run(&["agent", "completions", "bash"], succeed);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("--consumer-name"), "{out}");
    let (code, _, err) = run(&["agent", "completions", "tcsh"], succeed);
    assert_eq!(code, 2);
    assert!(err.contains("possible values: bash"), "{err}");
}

#[test]
fn every_binary_writes_its_manual_pages() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("new/pages");
    let arguments = ["agent", "man", pages.to_str().unwrap()];
    assert_eq!(run(&arguments, succeed), (0, String::new(), String::new()));
    let page = std::fs::read_to_string(pages.join("agent.1")).unwrap();
    assert!(page.contains("consumer\\-name"), "{page}");
    // `man` itself is for packagers, and no page says so.
    let mut written: Vec<_> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written, ["agent-completions.1", "agent.1"]);

    std::fs::write(directory.path().join("file"), "").unwrap();
    let below_a_file = directory.path().join("file/pages");
    let arguments = ["agent", "man", below_a_file.to_str().unwrap()];
    let (code, _, err) = run(&arguments, succeed);
    assert_eq!(code, 1);
    assert!(
        err.contains("hint: name a directory that you may write to"),
        "{err}"
    );
}
