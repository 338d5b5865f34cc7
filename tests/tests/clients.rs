//! Clients that are generated from the document a running bridge gives: they compile under the strictest settings of
//! their language, and go round with it (create, search, change, a stale change, delete).
//!
//! Generators and compilers come from `tests/clients/fetch`, at versions and hashes that are written down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, Region, RegionBuilder};

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_compiles_strictly_and_goes_round() -> Result<()> {
    link::tls::install_provider();
    let mut region = RegionBuilder::new("client-typescript", BrokerKind::Sandbox)
        .start()
        .await?;
    let at = Client::new(&mut region, "typescript").await?;
    for file in ["round.ts", "tsconfig.json", "package.json"] {
        at.copy(file)?;
    }
    let modules = at.tools.join("node_modules");
    std::os::unix::fs::symlink(&modules, at.home.join("node_modules"))?;
    let generator = modules.join("openapi-typescript/bin/cli.js");
    let node = |label: &str| ProcessSpec::at("node", "node".into(), REMEDY).label(label.to_owned());
    at.run(
        node("generate")
            .arg(path(&generator))
            .arg(at.file(DOCUMENT))
            .arg("--output")
            .arg(at.file("bridge.d.ts")),
    )
    .await?;
    let compiler = modules.join("typescript/bin/tsc");
    at.run(
        node("compile")
            .arg(path(&compiler))
            .arg("--project")
            .arg(path(&at.home)),
    )
    .await?;
    at.run(node("round").arg(at.file("out/round.js")).arg(&at.url))
        .await?;
    region.test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_passes_its_type_checker_and_goes_round() -> Result<()> {
    link::tls::install_provider();
    let mut region = RegionBuilder::new("client-python", BrokerKind::Sandbox)
        .start()
        .await?;
    let at = Client::new(&mut region, "python").await?;
    at.copy("round.py")?;
    // Its formatter would be one more thing to wait for.
    std::fs::write(at.home.join("generator.yaml"), "post_hooks: []\n")?;
    let program = |name: &str| {
        ProcessSpec::at(name, at.tools.join("bin").join(name), REMEDY).label(name.to_owned())
    };
    let generated = program("openapi-python-client")
        .arg("generate")
        .arg("--path")
        .arg(at.file(DOCUMENT))
        .arg("--meta")
        .arg("none")
        .arg("--output-path")
        .arg(at.file("bridge_client"))
        .arg("--config")
        .arg(at.file("generator.yaml"))
        .arg("--fail-on-warning");
    at.run(generated).await?;
    let python = |label: &str| program("python").label(label.to_owned());
    at.run(
        python("compile")
            .arg("-m")
            .arg("compileall")
            .arg("-q")
            .arg(at.file("bridge_client")),
    )
    .await?;
    let checked = program("mypy")
        .arg("--strict")
        .arg("--cache-dir")
        .arg(path(&at.tools.join("mypy")))
        .arg(at.file("round.py"))
        .env("MYPYPATH", &at.home);
    at.run(checked).await?;
    at.run(python("round").arg(at.file("round.py")).arg(&at.url))
        .await?;
    region.test_dir.passed();
    Ok(())
}

/// Where a client is made.
struct Client {
    /// `http://HOST:PORT` of the bridge.
    url: String,
    /// The generator and its compiler.
    tools: PathBuf,
    /// What is written here: the files of `tests/clients/LANGUAGE`, and the client.
    home: PathBuf,
    sources: PathBuf,
}

// === impl Client ===

impl Client {
    /// With the document of this region's bridge.
    async fn new(region: &mut Region, language: &str) -> Result<Self> {
        let url = region.bridge.listening().await?.api;
        let url = url.context("the bridge has an API")?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let home = region.test_dir.dir("client")?;
        let fetched = ProcessSpec::at("fetch", folder.join("fetch"), REMEDY)
            .arg(language)
            .run(&home, FETCHED_WITHIN)
            .await?;
        ensure!(
            fetched.status.success(),
            "tests/clients/fetch {language}: {}",
            fetched.stderr
        );
        let document = reqwest::get(format!("{url}/api/maestro/v1/openapi")).await?;
        std::fs::write(home.join(DOCUMENT), document.bytes().await?)?;
        Ok(Self {
            url,
            tools: fetched.stdout.trim().into(),
            home,
            sources: folder.join(language),
        })
    }

    fn copy(&self, file: &str) -> Result<()> {
        std::fs::copy(self.sources.join(file), self.home.join(file)).context(file.to_owned())?;
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        path(&self.home.join(name))
    }

    async fn run(&self, spec: ProcessSpec) -> Result<()> {
        let done = spec.run(&self.home, WITHIN).await?;
        ensure!(done.status.success(), "{}\n{}", done.stdout, done.stderr);
        Ok(())
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

const DOCUMENT: &str = "openapi.json";

const REMEDY: &str = "run `tests/clients/fetch typescript` and `tests/clients/fetch python`";

// 120 MB.
const FETCHED_WITHIN: Duration = Duration::from_secs(300);

// The compiler takes five seconds on an idle core.
const WITHIN: Duration = Duration::from_secs(120);
