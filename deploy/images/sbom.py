"""The bill of materials of an image, as CycloneDX: the crates that the program is made of, and the base's packages.

`cargo metadata` knows the crates, what they depend on and their licences, and `Cargo.lock` their hashes; a tool of its
own would say the same and have to be built first. What only builds or tests need is left out.
"""

import functools
import glob
import json
import os
import re
import subprocess
import tomllib
import urllib.parse
import uuid

import oci
from source import ROOT, Refused

TARGETS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}


def bill(name, source, packages, architecture):
    """The document for one image."""
    crates = crates_of(name, architecture)
    root = f"pkg:oci/{name}@{source.version}?arch={architecture}"
    components = [of_crate(crate) for crate in crates.values()] + [of_package(package, packages.release()) for package in packages]
    program = crates_root(name, architecture)
    dependencies = [
        {"ref": root, "dependsOn": sorted([reference(crates[program])] + [deb(package, packages.release()) for package in packages])},
        *(
            {"ref": reference(crate), "dependsOn": sorted(reference(crates[id]) for id in normal(architecture, id_) if id in crates)}
            for id_, crate in crates.items()
        ),
    ]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": source.created,
            "component": {
                "bom-ref": root,
                "type": "container",
                "name": name,
                "version": source.version,
                "licenses": [{"expression": source.licenses}],
            },
        },
        "components": sorted(components, key=lambda component: component["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda dependency: dependency["ref"]),
    }
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))}"
    return document


def write(path, document):
    oci.replace(path, (json.dumps(document, indent=1) + "\n").encode())


def notices(name, architecture):
    """The licence texts that the crates come with, as their licences demand of who passes programs on."""
    texts = {}
    for crate in crates_of(name, architecture).values():
        if crate["source"] is None:
            continue
        directory = os.path.dirname(crate["manifest_path"])
        for path in sorted(glob.glob(os.path.join(directory, "*"))):
            if re.match(r"(?i)(licen[sc]e|copying|notice|copyright|unlicense)", os.path.basename(path)) and os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    texts.setdefault(file.read().strip(), []).append(f"{crate['name']} {crate['version']}")
    parts = [f"{name} contains these works of others.\n"]
    parts += [f"{'=' * 80}\n{', '.join(sorted(set(users)))}\n{'-' * 80}\n{text}\n" for text, users in sorted(texts.items(), key=lambda item: (sorted(item[1]), item[0]))]
    return "\n".join(parts).encode()


def package(name):
    """A member of the workspace."""
    return next(crate for crate in metadata("amd64")["packages"] if crate["name"] == name and crate["source"] is None)


def crates_of(name, architecture):
    """Crates that the program is made of, by id."""
    known = {crate["id"]: crate for crate in metadata(architecture)["packages"]}
    found, todo = {}, [crates_root(name, architecture)]
    while todo:
        id_ = todo.pop()
        crate = known[id_]
        # Runs in the compiler, and so does what it stands on.
        if id_ in found or any("proc-macro" in target["kind"] for target in crate["targets"]):
            continue
        found[id_] = crate
        todo += normal(architecture, id_)
    return found


def crates_root(name, architecture):
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
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        raise Refused("`cargo` is not there, and it knows what crates a program is made of", "install a Rust toolchain with rustup")
    if done.returncode != 0:
        raise Refused(f"cargo metadata: {done.stderr.strip()}", "it reads `Cargo.lock` and the manifests, and fetches crates that are not there yet")
    return json.loads(done.stdout)


@functools.cache
def checksums():
    with open(os.path.join(ROOT, "Cargo.lock"), "rb") as file:
        lock = tomllib.load(file)
    return {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}


def of_crate(crate):
    component = {
        "bom-ref": reference(crate),
        "type": "library",
        "name": crate["name"],
        "version": crate["version"],
        "purl": reference(crate),
    }
    if crate["license"]:
        # Crates of before SPDX expressions separate with a slash.
        component["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", crate["license"])}]
    checksum = checksums().get((crate["name"], crate["version"]))
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return component


def of_package(package_, release):
    return {
        "bom-ref": deb(package_, release),
        "type": "library",
        "name": package_.name,
        "version": package_.version,
        "purl": deb(package_, release),
    }


def reference(crate):
    return f"pkg:cargo/{crate['name']}@{urllib.parse.quote(crate['version'], safe='')}"


def deb(package_, release):
    version = urllib.parse.quote(package_.version, safe="")
    return f"pkg:deb/debian/{package_.name}@{version}?arch={package_.architecture}&distro=debian-{release}"
