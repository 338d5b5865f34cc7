"""Writes an OCI image as one archive: layers, configuration, manifest, index.

The archive is an image layout (`oci-layout`, `index.json`, `blobs/`) with docker's `manifest.json` beside it, as
`docker save` writes: podman, skopeo (`oci-archive:`) and `ctr images import` read the one, any `docker load` the other.
Nothing in it depends on the clock, on the order of a directory or on who builds: the same content has the same bytes
wherever zlib is the same (`ZLIB`), because compressing is the one thing that it does not do itself.
"""

import hashlib
import io
import json
import os
import struct
import tarfile
import tempfile
import zlib

from source import Refused

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# What compresses: another version, or zlib-ng under its name, may give other bytes and so other digests.
ZLIB = zlib.ZLIB_RUNTIME_VERSION


class File:
    def __init__(self, path, content, mode=0o644):
        self.path, self.content, self.mode, self.owner = path, content, mode, 0

    def header(self):
        info = tarfile.TarInfo(self.path)
        info.size = len(self.content)
        return info


class Directory:
    content = b""

    def __init__(self, path, mode=0o755, owner=0):
        self.path, self.mode, self.owner = path, mode, owner

    def header(self):
        info = tarfile.TarInfo(self.path)
        info.type = tarfile.DIRTYPE
        return info


class Link:
    content, mode, owner = b"", 0o777, 0

    def __init__(self, path, target):
        self.path, self.target = path, target

    def header(self):
        info = tarfile.TarInfo(self.path)
        info.type, info.linkname = tarfile.SYMTYPE, self.target
        return info


class Written:
    def __init__(self, digest, size):
        # Of the manifest: what a registry calls the image's digest.
        self.digest = digest
        # Of the archive.
        self.bytes = size


def write(path, reference, architecture, created, config, layers, largest):
    """Writes the archive and answers what it is; `layers` is `(what it is, entries)` from the lowest to the highest.

    Refuses, and leaves nothing, if the archive is larger than `largest` bytes.
    """
    blobs, descriptors, diff_ids, history = {}, [], [], []
    for comment, entries in layers:
        plain = tar(entries)
        diff_ids.append(digest_of(plain))
        descriptors.append(blob(blobs, LAYER, packed(plain)))
        history.append({"created": created, "created_by": "deploy/images/build", "comment": comment})
    image = {
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }
    configuration = blob(blobs, CONFIG, encoded(image))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": configuration,
        "layers": descriptors,
        "annotations": config["Labels"],
    }
    described = blob(blobs, MANIFEST, encoded(manifest))
    described["platform"] = {"architecture": architecture, "os": "linux"}
    # podman and skopeo read the one, containerd and docker the other.
    described["annotations"] = {"org.opencontainers.image.ref.name": reference, "io.containerd.image.name": reference}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}
    docker = [{
        "Config": blob_path(configuration),
        "RepoTags": [reference],
        "Layers": [blob_path(descriptor) for descriptor in descriptors],
    }]
    parts = [
        File("oci-layout", encoded({"imageLayoutVersion": "1.0.0"})),
        File("index.json", encoded(index)),
        File("manifest.json", encoded(docker)),
        *(File(f"blobs/sha256/{digest}", content) for digest, content in blobs.items()),
    ]
    archive = tar(parts)
    if largest is not None and len(archive) > largest:
        raise Refused(
            f"{reference} is {len(archive) / 1e6:.1f} MB, more than the {largest / 1e6:.0f} MB that an image may have",
            "look at what made it grow: `cargo bloat`, or a layer that holds what it should not",
        )
    replace(path, archive)
    return Written(described["digest"], len(archive))


def tar(entries):
    """A tar of the entries in the order of their paths, with the directories that lead to them."""
    wanted = {}
    for entry in entries:
        if entry.path in wanted:
            raise Refused(f"two files want to be {entry.path}", "leave one out in deploy/images/base.py")
        wanted[entry.path] = entry
    for path in list(wanted):
        while path := os.path.dirname(path):
            above = wanted.setdefault(path, Directory(path))
            if not isinstance(above, Directory):
                raise Refused(f"{path} is no directory, and something wants to be in it", "see deploy/images/base.py")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as writer:
        for path in sorted(wanted):
            entry = wanted[path]
            header = entry.header()
            header.mode, header.uid, header.gid, header.mtime = entry.mode, entry.owner, entry.owner, 0
            writer.addfile(header, io.BytesIO(entry.content))
    return buffer.getvalue()


def packed(content):
    """The content as gzip. Head and tail are written here: what Python puts there depends on its version."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    # No name, no time, an unknown system.
    head = b"\x1f\x8b\x08\x00" + bytes(5) + b"\xff"
    tail = struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
    return head + deflate.compress(content) + deflate.flush() + tail


def blob(blobs, media_type, content):
    digest = digest_of(content)
    blobs[digest.removeprefix("sha256:")] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def blob_path(descriptor):
    return "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encoded(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def replace(path, content):
    """Writes a file whole or not at all: another build may read it now."""
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException as error:
            # Also when it is interrupted.
            os.unlink(file.name)
            if isinstance(error, OSError):
                raise Refused(f"write {path}: {error.strerror}", "it takes room on the disk and the right to write there; or name another place") from None
            raise
