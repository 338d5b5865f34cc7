"""What a program is made of: the crates that cargo knows, and what is compiled into it beside them."""

import functools
import json
import os
import re
import subprocess
import tomllib

from source import ROOT, Refused

TARGETS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}


class Native:
    """A work that no crate's name and version tells of, although scanners of vulnerabilities ask for it."""

    def __init__(self, name, version, purl, license_, cpe=None, crate=None):
        self.name, self.version, self.purl, self.license, self.cpe = name, version, purl, license_, cpe
        # The id of the crate that brings it; none if every program has it.
        self.crate = crate


class Toolchain:
    def __init__(self, release, sysroot):
        self.release, self.sysroot = release, sysroot


def native(name, architecture):
    """Libraries in C, and Rust's own."""
    rust = toolchain().release
    found = [Native("rust-std", rust, f"pkg:generic/rust-std@{rust}", "MIT OR Apache-2.0", cpe=f"cpe:2.3:a:rust-lang:rust:{rust}:*:*:*:*:*:*:*")]
    for id_, crate in crates_of(name, architecture).items():
        if crate["name"] == "libsqlite3-sys" and "bundled" in nodes(architecture)[id_]["features"]:
            version = defined(crate, "sqlite3/sqlite3.h", "SQLITE_VERSION")
            cpe = f"cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*"
            found.append(Native("sqlite", version, f"pkg:generic/sqlite@{version}", "blessing", cpe, id_))
        if crate["name"] == "aws-lc-sys":
            version = defined(crate, "aws-lc/include/openssl/base.h", "AWSLC_VERSION_NUMBER_STRING")
            found.append(Native("aws-lc", version, f"pkg:github/aws/aws-lc@v{version}", license_of(crate), crate=id_))
    return found


def defined(crate, header, name):
    """The text that a header of C defines a name as."""
    path = os.path.join(os.path.dirname(crate["manifest_path"]), header)
    with open(path, encoding="utf-8", errors="replace") as file:
        found = re.search(rf'^#define\s+{name}\s+"([^"]+)"', file.read(), re.M)
    if not found:
        raise Refused(f"{path} does not say what {name} is", "look at how the crate tells its library's version now, and follow in deploy/images/crates.py")
    return found.group(1)


def license_of(crate):
    """As an SPDX expression: crates of before those separate with a slash."""
    return re.sub(r"\s*/\s*", " OR ", crate["license"])


def package(name):
    """A member of the workspace."""
    return next(crate for crate in metadata("amd64")["packages"] if crate["name"] == name and crate["source"] is None)


@functools.cache
def crates_of(name, architecture):
    """Crates that the program is made of, by id."""
    known = {crate["id"]: crate for crate in metadata(architecture)["packages"]}
    found, todo = {}, [root_of(name, architecture)]
    while todo:
        id_ = todo.pop()
        crate = known[id_]
        # Runs in the compiler, and so does what it stands on.
        if id_ in found or any("proc-macro" in target["kind"] for target in crate["targets"]):
            continue
        found[id_] = crate
        todo += normal(architecture, id_)
    return found


def root_of(name, architecture):
    return next(crate["id"] for crate in metadata(architecture)["packages"] if crate["name"] == name and crate["source"] is None)


@functools.cache
def nodes(architecture):
    return {node["id"]: node for node in metadata(architecture)["resolve"]["nodes"]}


def normal(architecture, id_):
    """What a crate depends on when the program runs."""
    return [
        dependency["pkg"]
        for dependency in nodes(architecture)[id_]["deps"]
        if any(kind["kind"] is None for kind in dependency["dep_kinds"])
    ]


@functools.cache
def metadata(architecture):
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={TARGETS[architecture]}"]
    return json.loads(output(command, "it reads `Cargo.lock` and the manifests, and fetches crates that are not there yet"))


@functools.cache
def toolchain():
    hint = "it is the toolchain of `rust-toolchain.toml` that is asked"
    release = re.search(r"^release: (.+)$", output(["rustc", "-vV"], hint), re.M).group(1)
    return Toolchain(release, output(["rustc", "--print", "sysroot"], hint).strip())


def output(command, hint):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        raise Refused(f"`{command[0]}` is not there, and it knows what a program is made of", "install a Rust toolchain with rustup") from None
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}: {done.stderr.strip()}", hint)
    return done.stdout


@functools.cache
def checksums():
    """The hash of each crate's archive by name and version."""
    with open(os.path.join(ROOT, "Cargo.lock"), "rb") as file:
        lock = tomllib.load(file)
    return {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}
