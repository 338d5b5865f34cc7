//! How `probe watch` leaves a terminal, how it looks in a small one, and what it says where there is none.

use anyhow::{Context as _, Result, ensure};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

use super::{PATIENCE, Terminal, address, ghost, probe};

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_given_back_at_a_hangup_and_while_the_bridge_is_away_for_good() -> Result<()>
{
    let mut region = RegionBuilder::new("watch-ends", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = address(&mut region).await?;
    let directory = region.test_dir.dir("terminal")?;
    let watch = format!("{} watch --api {api} --interval 0.3", program()?);
    let file = |name: &str| directory.join(name).display().to_string();
    let run = |name: &str| {
        format!(
            "sh -c 'echo $$ > {pid}; exec {watch}'; echo {name} $?; stty -g > {modes}; ",
            pid = file(&format!("{name}.pid")),
            modes = file(name),
        )
    };
    let script = format!(
        "stty -g > {}; {}{}{}cat",
        file("before"),
        run("hangup"),
        run("away"),
        run("closed")
    );
    let terminal = Terminal::start(&directory, &script).await?;
    let read = |name: &str| std::fs::read_to_string(directory.join(name));
    let signal = async |name: &str, signal: &str| -> Result<()> {
        let pid = wait_for("the process", PATIENCE, async || {
            let pid = read(&format!("{name}.pid"))?;
            ensure!(pid.ends_with('\n'), "not yet");
            Ok(pid)
        })
        .await?;
        terminal
            .tmux(&["run-shell", &format!("kill -{signal} {pid}")])
            .await?;
        Ok(())
    };
    let given_back = async |name: &str| -> Result<()> {
        wait_for("the modes of the terminal", PATIENCE, async || {
            let (before, after) = (read("before")?, read(name)?);
            ensure!(after.ends_with('\n') && before == after, "{before}{after}");
            Ok(())
        })
        .await?;
        Ok(())
    };
    terminal.shows(&["probe watch", "cluster1"]).await?;
    signal("hangup", "HUP").await?;
    given_back("hangup").await?;

    terminal.shows(&["probe watch", "cluster1"]).await?;
    region.bridge.kill()?;
    terminal.shows(&["API away", "cluster1", "old"]).await?;
    signal("away", "TERM").await?;
    given_back("away").await?;

    // Who cannot begin takes no terminal.
    given_back("closed").await?;
    let words = ["hangup 0", "away 0", "nothing listens there", "closed 1"];
    terminal.shows(&words).await?;
    terminal.tmux(&["kill-server"]).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_s_stops_neither_the_picture_nor_its_end_and_a_dumb_terminal_gets_text() -> Result<()>
{
    let mut region = RegionBuilder::new("watch-ctrl-s", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = address(&mut region).await?;
    let directory = region.test_dir.dir("terminal")?;
    let watch = format!("{} watch --api {api} --interval 0.3", program()?);
    // With keys, and with a keyboard that is none of its own.
    let pid = directory.join("pid").display().to_string();
    let without = format!("sh -c 'echo $$ > {pid}; exec {watch} < /dev/null'; echo without $?");
    // At last one that would show commands as text.
    let dumb = format!("TERM=dumb {} watch --api {api} --interval 3600", program()?);
    let script = format!("stty ixon; {watch}; echo with $?; {without}; stty -a; {dumb}");
    let terminal = Terminal::start(&directory, &script).await?;
    terminal.shows(&["sort (waiting)", "cluster1"]).await?;
    terminal.keys(&["C-s", "s"]).await?;
    terminal.shows(&["sort (name)"]).await?;
    terminal.keys(&["q"]).await?;
    terminal.shows(&["sort (waiting)", "cluster1"]).await?;
    terminal.keys(&["C-s"]).await?;
    terminal
        .tmux(&["run-shell", &format!("kill -TERM $(cat {pid})")])
        .await?;
    // Afterwards it would stop a terminal again.
    let words = ["with 0", "without 0", " ixon", "0 stuck"];
    let screen = terminal.shows(&words).await?;
    ensure!(!screen.contains("probe watch  "), "{screen}");
    terminal.tmux(&["kill-server"]).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_of_twenty_by_five_shows_a_cluster_and_ends_with_its_terminal() -> Result<()> {
    let mut region = RegionBuilder::new("watch-small", BrokerKind::Sandbox)
        .start()
        .await?;
    ghost(&mut region).await?;
    let api = address(&mut region).await?;
    let directory = region.test_dir.dir("terminal")?;
    let watch = format!("{} watch --api {api} --interval 0.3", program()?);
    let pid = directory.join("pid");
    let script = format!("echo $$ > {}; exec {watch} --sort name", pid.display());
    let terminal = Terminal::start_sized(&directory, &script, (20, 5)).await?;
    let screen = terminal
        .shows(&["probe watch", "> cluster1", "q quit"])
        .await?;
    let lines: Vec<&str> = screen.lines().collect();
    ensure!(lines.len() == 5, "{screen}");
    ensure!(
        lines.iter().all(|line| line.chars().count() <= 20),
        "{screen}"
    );
    ensure!(lines[4].starts_with("q quit"), "{screen}");
    // The only line for clusters moves along.
    terminal.keys(&["Down"]).await?;
    terminal.shows(&["> ghost"]).await?;
    region.bridge.kill()?;
    terminal.shows(&["API away", "> ghost"]).await?;

    let pid = std::fs::read_to_string(pid)?;
    terminal.tmux(&["kill-server"]).await?;
    wait_for("the end of the process", PATIENCE, async || {
        let there = std::path::Path::new("/proc").join(pid.trim()).exists();
        ensure!(!there, "{pid} is there");
        Ok(())
    })
    .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_gets_words_and_no_control_characters() -> Result<()> {
    let mut region = RegionBuilder::new("watch-pipe", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = address(&mut region).await?;
    let logs = region.test_dir.dir("pipe")?;
    // More than one look, and then nobody reads any more.
    let line = format!(
        "{{ {} watch --api {api} --interval 0.3; echo $? >&2; }} | head -n 12",
        program()?
    );
    let shell = ProcessSpec::installed("sh", "every system has one")?;
    let done = shell.args(["-c", &line]).run(&logs, PATIENCE).await?;
    ensure!(done.stderr == "0\n", "{}", done.stderr);
    ensure!(
        done.stdout.matches("CLUSTER").count() > 1,
        "{}",
        done.stdout
    );
    ensure!(!done.stdout.contains('\u{1b}'), "{:?}", done.stdout);

    region.bridge.kill()?;
    let nobody = probe(&region, &["watch", "--api", &api]).await?;
    ensure!(nobody.status.code() == Some(1), "{}", nobody.stderr);
    ensure!(nobody.stdout.is_empty(), "{}", nobody.stdout);
    ensure!(
        nobody.stderr.contains("nothing listens there"),
        "{}",
        nobody.stderr
    );
    region.passed();
    Ok(())
}

fn program() -> Result<String> {
    let command = ProcessSpec::binary("probe")?.command();
    let program = command.get_program().to_str().context("a path in UTF-8")?;
    Ok(program.to_owned())
}
