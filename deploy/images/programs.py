"""The programs: which there are, how they are compiled for shipping, and what lies beside each in its image."""

import os
import subprocess
import sys

import oci
import sbom
from source import ROOT, Refused

NAMES = ["agent", "server-bridge", "probe", "provisioner", "sandbox"]


def compile_all(names, source):
    """Builds the programs as they are shipped, and answers where they are."""
    command = ["cargo", "build", "--profile", "dist", "--locked"]
    command += [word for name in names for word in ("--package", name, "--bin", name)]
    print(f"images: {' '.join(command)}", file=sys.stderr, flush=True)
    try:
        subprocess.run(command, cwd=ROOT, env={**os.environ, **source.stamp()}, check=True)
    except FileNotFoundError:
        raise Refused("`cargo` is not there", "install a Rust toolchain with rustup, or bring programs with --binaries DIR")
    except subprocess.CalledProcessError:
        raise Refused("the programs do not build", "see cargo's message above")
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "dist")


def layer(name, content, architecture, source):
    """The files of a program's layer."""
    return [
        oci.File(f"usr/local/bin/{name}", content, mode=0o755),
        oci.File(f"usr/share/doc/{name}/LICENSE", source.license_text()),
        oci.File(f"usr/share/doc/{name}/THIRD-PARTY-NOTICES", sbom.notices(name, architecture)),
    ]
