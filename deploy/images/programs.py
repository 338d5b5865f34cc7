"""The programs: which there are, how they are compiled for shipping, and what lies beside each in its image."""

import errno
import os
import re
import subprocess
import sys

import oci
from notices import notices
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


def said(binary, name, source):
    """What a program says of its build with `--version`: `COMMIT, DATE` or `dev`; nothing if it is for another processor,
    and cannot be asked. Refuses one that is of another name or release."""
    try:
        done = subprocess.run([os.path.abspath(binary), "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60)
    except subprocess.TimeoutExpired:
        raise Refused(f"{binary} does not answer `--version` within a minute", "is it the right program?") from None
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            return None
        raise Refused(f"ask {binary} for its version: {error.strerror}", "it has to be a program that may be run: chmod +x") from None
    text = done.stdout.strip()
    answer = re.fullmatch(rf"{re.escape(name)} {re.escape(source.version)} \((.+)\)", text)
    if done.returncode != 0 or not answer:
        text = text or done.stderr.strip() or "nothing"
        raise Refused(f"{binary} says that it is `{text[:200]}`, not {name} {source.version} (…)", "build it of this tree: cargo build --profile dist")
    return answer.group(1)


def is_of(build, source):
    """Whether what a program says of its build is the commit of the tree."""
    return bool(source.commit) and build is not None and build.split(",")[0] == source.short_commit()


def layer(name, content, architecture, source):
    """The files of a program's layer."""
    return [
        oci.File(f"usr/local/bin/{name}", content, mode=0o755),
        oci.File(f"usr/share/doc/{name}/LICENSE", source.license_text()),
        oci.File(f"usr/share/doc/{name}/THIRD-PARTY-NOTICES", notices(name, architecture)),
    ]
