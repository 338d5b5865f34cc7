//! Rehearses a deployment on this machine: `tests/rehearse`, see `docs/TESTING-END-TO-END.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use tests::rehearse::{PhaseReport, RehearsalOptions, keep_environment, passed, run};

/// What to do.
enum Task {
    Run {
        json: bool,
        options: RehearsalOptions,
    },
    Hold {
        file: PathBuf,
        node: bool,
    },
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "its output is what it is for")]
async fn main() -> Result<ExitCode> {
    let Some(task) = task(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    match task {
        Task::Hold { file, node } => {
            let path = file.display();
            eprintln!(
                "starting; `. {path}` in another terminal once it is there, Ctrl-C here ends it"
            );
            let until = async {
                interrupted().await;
                false
            };
            // What is starting ends at once.
            tokio::select! {
                biased;
                ended = Box::pin(keep_environment(&file, node, until)) => ended?,
                () = interrupted() => {}
            }
            let _ = std::fs::remove_file(&file);
            Ok(ExitCode::SUCCESS)
        }
        Task::Run { json, options } => {
            let reports = run(&options, |report| show(report, json)).await?;
            Ok(ExitCode::from(u8::from(!passed(&reports))))
        }
    }
}

fn task(mut args: impl Iterator<Item = String>) -> Option<Task> {
    let (mut json, mut options, mut held) = (false, RehearsalOptions::default(), None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = true,
            "--sabotage" => options.sabotage = Some(args.next()?),
            "--node" => options.node = true,
            "--hold" => held = Some(args.next()?),
            _ => return None,
        }
    }
    Some(match held {
        Some(_) if json || options.sabotage.is_some() => return None,
        Some(file) => Task::Hold {
            file: file.into(),
            node: options.node,
        },
        None => Task::Run { json, options },
    })
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    // Without it a signal ends the process all the same.
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn show(report: &PhaseReport, json: bool) {
    if json {
        // Texts and numbers: nothing that JSON cannot say.
        println!("{}", serde_json::to_string(report).unwrap_or_default());
        return;
    }
    let verdict = format!("{:?}", report.verdict).to_uppercase();
    println!(
        "{verdict:<7} phase {}: {} ({:.1} s)",
        report.phase, report.title, report.seconds
    );
    for line in &report.looked_at {
        println!("        {line}");
    }
    if let Some(error) = &report.error {
        println!("        {}", error.trim_end().replace('\n', "\n        "));
    }
}

const USAGE: &str = "\
usage: tests/rehearse [--node] [--json] [--sabotage CLUSTER]   go through all phases
       tests/rehearse [--node] --hold FILE                     start accounts and broker, write their variables to FILE
--node: server and agent are pods of a Kubernetes node, which takes root
exit codes: 0 every phase passed; 1 one failed; 2 the command line is wrong";
