"""The bill of materials of an image, as CycloneDX: the crates that the program is made of, what they compile in C,
Rust's own library, and the base's packages.

`cargo metadata` knows the crates, what they depend on and their licences, and `Cargo.lock` their hashes; a tool of its
own would say the same and have to be built first. What only builds or tests need is left out.
"""

import json
import urllib.parse
import uuid

import oci
from crates import checksums, crates_of, license_of, native, normal, root_of


def bill(name, source, packages, architecture):
    """The document for one image."""
    crates, parts, release = crates_of(name, architecture), native(name, architecture), packages.release()
    root = f"pkg:oci/{name}@{source.version}?arch={architecture}"
    components = [
        *(of_crate(crate) for crate in crates.values()),
        *(of_native(part) for part in parts),
        *(of_package(package, release) for package in packages),
    ]
    program = crates[root_of(name, architecture)]
    below_root = [reference(program), *(part.purl for part in parts if part.crate is None), *(deb(package, release) for package in packages)]
    dependencies = [{"ref": root, "dependsOn": sorted(below_root)}]
    for id_, crate in crates.items():
        below = [reference(crates[each]) for each in normal(architecture, id_) if each in crates]
        below += [part.purl for part in parts if part.crate == id_]
        dependencies.append({"ref": reference(crate), "dependsOn": sorted(below)})
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


def of_crate(crate):
    component = library(crate["name"], crate["version"], reference(crate))
    if crate["license"]:
        component["licenses"] = [{"expression": license_of(crate)}]
    checksum = checksums().get((crate["name"], crate["version"]))
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return component


def of_native(part):
    component = library(part.name, part.version, part.purl)
    component["licenses"] = [{"expression": part.license}]
    if part.cpe:
        component["cpe"] = part.cpe
    return component


def of_package(package, release):
    component = library(package.name, package.version, deb(package, release))
    # Debian's names of licences are no SPDX identifiers; many packages tell theirs in prose only.
    named = [{"license": {"name": name}} for name in package.licenses()]
    component["licenses"] = named or [{"expression": "NOASSERTION"}]
    return component


def library(name, version, purl):
    return {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}


def reference(crate):
    return f"pkg:cargo/{crate['name']}@{urllib.parse.quote(crate['version'], safe='')}"


def deb(package, release):
    version = urllib.parse.quote(package.version, safe="")
    return f"pkg:deb/debian/{package.name}@{version}?arch={package.architecture}&distro=debian-{release}"
