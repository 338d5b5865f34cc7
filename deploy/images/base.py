"""The base of every image: a few Debian packages, pinned by version and hash, of which no script is run.

`base.lock` names them. Each is taken from the cache (`.cache/images`, or `$IMAGES_CACHE`), else by apt from Debian, else from Debian's
archive of everything that it ever published, and is used only if its hash is the pinned one. So the files are the same
on every machine and in a year, and neither root nor Debian is needed.

Of a package, its files are taken without programs, shells, manuals and locales; what is in the image is written to
`/var/lib/dpkg/status.d`, where scanners of vulnerabilities look.
"""

import datetime
import fcntl
import functools
import gzip
import hashlib
import http.client
import io
import lzma
import os
import platform
import re
import sys
import tarfile
import urllib.error
import urllib.request

import oci
from apt import Apt
from source import ROOT, Refused

LOCK = os.path.join(ROOT, "deploy", "images", "base.lock")
CACHE = os.environ.get("IMAGES_CACHE", os.path.join(ROOT, ".cache", "images"))
SNAPSHOT = os.environ.get("DEBIAN_SNAPSHOT", "https://snapshot.debian.org/archive")
UID = 65532
# Programs, what only people read, and what only a shell or a compiler uses. Copyright notices stay.
LEFT_OUT = re.compile(
    r"(usr/)?(s?bin|games)/|boot/|dev/|home/|media/|mnt/|opt/|proc/|root/|run/|srv/|sys/|usr/(include|local|src)/"
    r"|usr/share/(?!doc/)|etc/(default|profile\.d|skel|update-motd\.d|dpkg|ca-certificates)/|etc/(issue|motd)"
    r"|usr/lib/[^/]+/(gconv|audit)/|var/(?!lib/dpkg/)"
)
ACCOUNTS = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
GROUPS = "root:x:0:\nnonroot:x:65532:\n"


class Package:
    """A Debian package: its control file and its members."""

    def __init__(self, content):
        parts = dict(members(content))
        control = archive(parts, "control.tar")
        self.control = control.extractfile("./control").read()
        fields = dict(re.findall(r"^(\S+): (.+)$", self.control.decode(), re.M))
        self.name, self.version, self.architecture = (fields[key] for key in ("Package", "Version", "Architecture"))
        self.data = archive(parts, "data.tar")

    def files(self):
        """`(path, member)` of all that it would install."""
        for member in self.data.getmembers():
            path = member.name.removeprefix("./").removeprefix(".")
            if path:
                yield path, member


    def licenses(self):
        """The names of its licences, if its copyright file is one that machines read."""
        for path, member in self.files():
            if path == f"usr/share/doc/{self.name}/copyright" and member.isfile():
                text = self.data.extractfile(member).read().decode(errors="replace")
                if text.startswith("Format: "):
                    return sorted(set(re.findall(r"^License: *(\S.*)$", text, re.M)))
        return []


class Packages(list):
    """All of the base, in the order of `base.lock`."""

    def libraries(self):
        return {os.path.basename(path) for package in self for path, _ in package.files() if "/lib" in f"/{path}"}

    def glibc(self):
        version = next(package.version for package in self if package.name == "libc6")
        return tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", version).groups())

    def release(self):
        """Debian's number of the release, such as `12`."""
        version = next(package.version for package in self if package.name == "base-files")
        return re.match(r"\d+", version).group()


class Pin:
    """A line of `base.lock`."""

    def __init__(self, line):
        self.name, self.version, self.architecture, self.path, self.sha256 = line.split()

    def file(self):
        return os.path.join(CACHE, f"{self.sha256[:16]}-{os.path.basename(self.path)}")


def packages(architecture, unpinned=False):
    """The packages for a processor."""
    lock = Lock()
    wanted = [pin for pin in lock.pins if pin.architecture in (architecture, "all")]
    os.makedirs(CACHE, exist_ok=True)
    # One at a time fetches: apt refuses lists that another process is writing.
    with open(os.path.join(CACHE, "lock"), "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        return Packages(Package(fetch(pin, lock, unpinned)) for pin in wanted)


def own_architecture():
    """This machine's processor, as images call it."""
    machine = platform.machine()
    known = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in known:
        raise Refused(f"this machine's processor is {machine}", "there are images for amd64 and arm64")
    return known[machine]


def fetch(pin, lock, unpinned):
    """The bytes of a package."""
    for bring in (from_cache, from_apt, from_snapshot):
        content = bring(pin, lock)
        if content is None:
            continue
        if hashlib.sha256(content).hexdigest() == pin.sha256:
            if bring is not from_cache:
                oci.replace(pin.file(), content)
            return content
        say(f"{pin.name} {pin.version} of {bring.__name__.removeprefix('from_')} is not what base.lock pins")
    if unpinned:
        content = apt(pin, lock).download(pin.name)
        if content is not None:
            say(f"{pin.name}: {pin.version} is not served any more, its successor is taken (--unpinned)")
            return content
    if apt(pin, lock).problem:
        say(f"apt said: {apt(pin, lock).problem}")
    raise Refused(
        f"{pin.name} {pin.version} ({pin.architecture}) is served neither by apt nor by {SNAPSHOT}",
        "pin what is served today with `deploy/images/build --update-base`, and look at the change",
    )


def from_cache(pin, _lock):
    try:
        with open(pin.file(), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def from_apt(pin, lock):
    return apt(pin, lock).download(f"{pin.name}={pin.version}")


def from_snapshot(pin, lock):
    archive_name = "debian-security" if pin.path.startswith("pool/updates/") else "debian"
    url = f"{SNAPSHOT}/{archive_name}/{lock.snapshot}/{pin.path}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return None


def apt(pin, lock):
    # What is for all processors is in the list of each.
    return apt_of(lock.suite, "amd64" if pin.architecture == "all" else pin.architecture)


@functools.cache
def apt_of(suite, architecture):
    return Apt(suite, architecture, CACHE)


def layer(packages_):
    """What the base layer holds: files of the packages, the bundle of authorities, accounts and directories."""
    entries = [oci.Directory("tmp", mode=0o1777), oci.Directory("home/nonroot", mode=0o700, owner=UID)]
    authorities = {}
    for package in packages_:
        entries.append(oci.File(f"var/lib/dpkg/status.d/{package.name}", package.control))
        for path, member in package.files():
            if path.startswith("usr/share/ca-certificates/") and path.endswith(".crt"):
                authorities[path] = package.data.extractfile(member).read()
            if kept(path, member):
                entries.append(entry(path, member, package))
    # A maintainer script makes it elsewhere, and none is run here.
    bundle = b"".join(authorities[path] for path in sorted(authorities))
    entries += [
        oci.File("etc/ssl/certs/ca-certificates.crt", bundle),
        oci.File("etc/passwd", ACCOUNTS.encode()),
        oci.File("etc/group", GROUPS.encode()),
        # What glibc asks without it includes services that are not there.
        oci.File("etc/nsswitch.conf", b"hosts: files dns\n"),
    ]
    return entries


def kept(path, member):
    if member.isdir() or LEFT_OUT.match(path):
        return False
    return not path.startswith("usr/share/doc/") or path.endswith("/copyright")


def entry(path, member, package):
    if member.issym():
        return oci.Link(path, member.linkname)
    if member.isfile():
        return oci.File(path, package.data.extractfile(member).read(), mode=0o755 if member.mode & 0o100 else 0o644)
    raise Refused(f"{package.name} has {path}, which is neither a file nor a link", "leave it out in deploy/images/base.py")


def members(content):
    """`(name, bytes)` of an ar archive, which a Debian package is."""
    if not content.startswith(b"!<arch>\n"):
        raise Refused("what was fetched is no Debian package", "look at the network's proxies")
    at = 8
    while at + 60 <= len(content):
        name, size = content[at : at + 16].decode().strip().rstrip("/"), int(content[at + 48 : at + 58])
        yield name, content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def archive(parts, name):
    """The tar of a package by its name without compression."""
    for suffix, unpack in (("", bytes), (".gz", gzip.decompress), (".xz", lzma.decompress)):
        if name + suffix in parts:
            return tarfile.open(fileobj=io.BytesIO(unpack(parts[name + suffix])))
    raise Refused(f"a package has no {name} that can be read here (it has {', '.join(parts)})", "take packages of Debian")


class Lock:
    """`base.lock`."""

    def __init__(self):
        with open(LOCK, encoding="utf-8") as file:
            self.lines = file.read().splitlines()
        said = [line for line in self.lines if line and not line.startswith("#")]
        settings = dict(line.split() for line in said if len(line.split()) == 2)
        self.suite, self.snapshot = settings["suite"], settings["snapshot"]
        self.pins = [Pin(line) for line in said if len(line.split()) != 2]


def update():
    """Writes into `base.lock` the version of each package that Debian serves now."""
    lock = Lock()
    written, changed = [], False
    for pin in lock.pins:
        fields = apt(pin, lock).show(pin.name)
        if "SHA256" not in fields:
            raise Refused(f"apt shows no {pin.name} of {lock.suite} for {pin.architecture}", "it needs the network and Debian's keys: apt-get install debian-archive-keyring")
        changed = changed or fields["SHA256"] != pin.sha256
        if fields["SHA256"] != pin.sha256:
            say(f"{pin.name} ({pin.architecture}): {pin.version} -> {fields['Version']}")
        written.append(f"{pin.name} {fields['Version']} {pin.architecture} {fields['Filename']} {fields['SHA256']}")
    if not changed:
        say("base.lock pins what Debian serves")
        return 0
    comment = [line for line in lock.lines if line.startswith("#")]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H0000Z")
    lines = [*comment, f"suite {lock.suite}", f"snapshot {now}", *written]
    oci.replace(LOCK, ("\n".join(lines) + "\n").encode())
    return 0


def say(text):
    print(f"images: {text}", file=sys.stderr, flush=True)
