//! Our images on the node: built by `deploy/images/build` out of this profile's programs, and imported, because a node of
//! the tests pulls nothing.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::Mutex;

use super::Node;
use crate::process::ProcessSpec;
use crate::test_dir::{profile_directory, target_directory, workspace};

impl Node {
    /// Puts the image of one of our programs on the node and gives its repository, as the charts want it: the tag is
    /// their default.
    ///
    /// # Errors
    /// When the program has not been built, or the image cannot be.
    pub async fn image(&self, program: &str) -> Result<String> {
        // One at a time: what two tests build is the same file.
        static BUILT: Mutex<Vec<String>> = Mutex::const_new(Vec::new());
        let mut built = BUILT.lock().await;
        let out = target_directory()?.join("test-images");
        let archive = out.join(format!("{program}.tar"));
        if !built.iter().any(|name| name == program) && !newer(&archive, program)? {
            std::fs::create_dir_all(&out)?;
            let build = workspace().join("deploy/images/build");
            let spec = ProcessSpec::at("images", build, "see `deploy/images`")
                .label(format!("image-{program}"))
                // A test is no release: it goes on when Debian has a successor of what is pinned.
                .args(["--unpinned", "--binaries"])
                .arg(profile_directory()?)
                .arg("--out")
                .arg(&out)
                .arg(program);
            let output = spec.run(self.test_dir.path(), PATIENCE).await?;
            ensure!(
                output.status.success(),
                "{}{}",
                output.stdout,
                output.stderr
            );
            built.push(program.to_owned());
        }
        drop(built);
        self.import(&archive).await?;
        Ok(format!("localhost/{program}"))
    }

    /// Puts an archive of images on the node.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        let name = archive.file_stem().unwrap_or_default().display();
        let spec = self.assets.ctr(&self.resources.directory());
        let spec = spec.label(format!("import-{name}"));
        let spec = spec.args(["images", "import"]).arg(archive);
        let output = spec.run(self.test_dir.path(), PATIENCE).await?;
        ensure!(
            output.status.success(),
            "import {}: {}",
            archive.display(),
            output.stderr
        );
        Ok(())
    }
}

/// Whether an image was made of the program as it is. That takes seconds, which an earlier run may have spent.
fn newer(archive: &Path, program: &str) -> io::Result<bool> {
    let program = profile_directory()?.join(program).metadata()?;
    let Ok(archive) = archive.metadata() else {
        return Ok(false);
    };
    Ok(archive.modified()? > program.modified()?)
}

// On a machine that downloads the base first.
const PATIENCE: Duration = Duration::from_secs(180);
