use super::*;
use crate::error::Hint;

#[derive(clap::Parser)]
#[command(name = "agent", version = version())]
struct Args {
    #[arg(long)]
    consumer_name: String,
}

#[derive(Debug, thiserror::Error)]
#[error("connect to `mqtts://iot.example:8883`")]
struct Connect(#[source] io::Error);

impl Hint for Connect {
    fn hint(&self) -> Option<String> {
        Some("run `probe check` to see which step fails".into())
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
         hint: run `probe check` to see which step fails\n"
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
fn help_and_version_are_data_on_standard_output() {
    let (code, out, err) = run(&["agent", "--version"], succeed);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("agent {}\n", version()));
    let (code, out, _) = run(&["agent", "--help"], succeed);
    assert_eq!(code, 0);
    assert!(out.contains("--consumer-name"), "{out}");
}
