"""Reads of a program what decides on which base it runs: processor, libraries, and the C library's version."""

import re
import struct

from source import Refused

# e_machine, and how container images call it.
ARCHITECTURES = {62: "amd64", 183: "arm64"}
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_NEEDED, DT_STRTAB = 0, 1, 5


class Program:
    """An ELF program of 64 bits, little-endian."""

    def __init__(self, path, architecture, libraries, glibc):
        self.path = path
        self.architecture = architecture
        # Names such as `libc.so.6`; none of a static program.
        self.libraries = libraries
        # The newest `GLIBC_` version it asks for.
        self.glibc = glibc

    def must_run_on(self, packages):
        """Refuses a program that would not start on this base, which else shows in the cluster."""
        missing = [library for library in self.libraries if library not in packages.libraries()]
        if missing:
            raise Refused(
                f"{self.path} needs {', '.join(missing)}, which no package of the base has",
                "link it statically, or add the package to base.lock",
            )
        there = packages.glibc()
        if self.libraries and self.glibc > there:
            needed, have = (".".join(map(str, version)) for version in (self.glibc, there))
            raise Refused(
                f"{self.path} needs glibc {needed}, the base has {have}",
                "build it where glibc is not newer, such as on the release of Debian that base.lock is of, or with deploy/images/Dockerfile",
            )


def read(path, content):
    """Reads the headers of a program."""
    if content[:6] != b"\x7fELF\x02\x01" or len(content) < 64:
        raise Refused(f"{path} is no program for 64-bit Linux", "build it with a Linux target")
    machine = struct.unpack_from("<H", content, 18)[0]
    if machine not in ARCHITECTURES:
        raise Refused(f"{path} is for a processor of another kind (ELF machine {machine})", "there are images for amd64 and arm64")
    try:
        return Program(path, ARCHITECTURES[machine], needed(content), newest_glibc(content))
    except (struct.error, StopIteration, ValueError):
        raise Refused(f"{path} is a program that is not whole", "build it again; a copy may have been cut off") from None


def needed(content):
    """The libraries that the loader has to find."""
    offset, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    segments = []
    for at in range(count):
        kind, _, file_offset, address, _, file_size = struct.unpack_from("<IIQQQQ", content, offset + at * size)
        segments.append((kind, file_offset, address, file_size))
    dynamic = next((segment for segment in segments if segment[0] == PT_DYNAMIC), None)
    if dynamic is None:
        return []
    entries = []
    for at in range(dynamic[1], dynamic[1] + dynamic[3], 16):
        tag, value = struct.unpack_from("<QQ", content, at)
        if tag == DT_NULL:
            break
        entries.append((tag, value))
    table = next((value for tag, value in entries if tag == DT_STRTAB), None)
    if table is None:
        return []
    load = next(segment for segment in segments if segment[0] == PT_LOAD and segment[2] <= table < segment[2] + segment[3])
    names = []
    for tag, value in entries:
        if tag == DT_NEEDED:
            start = load[1] + table - load[2] + value
            names.append(content[start : content.index(b"\0", start)].decode())
    return names


def newest_glibc(content):
    """The newest version of the C library that a symbol is wanted of; `(0, 0)` if none is."""
    found = re.findall(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)", content)
    return max(((2, int(minor)) for minor in found), default=(0, 0))
