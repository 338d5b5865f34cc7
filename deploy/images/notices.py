"""The licence texts that go with a program, as the licences of what it is made of demand of who passes it on.

A crate brings its texts in its archive, also below the top. One that brings none is under the standard text of what its
manifest names, with its authors; one that has neither is refused, because then nobody may ship it. Rust's own library
has its notices in the toolchain, and libraries in C lie in the crates that build them.
"""

import html
import os
import re

import crates
from source import ROOT, Refused

# What bears a licence's text, and what only speaks of rights.
LICENCE = re.compile(r"(?i)(un)?licen[sc]e|copying")
NOTICE = re.compile(r"(?i)(notice|copyright|patents)")
# Parts of a program, whatever they are called.
SOURCES = (".rs", ".c", ".h", ".go", ".py", ".pl", ".js", ".json", ".toml", ".yml", ".yaml", ".sh")
MIT = """MIT License

Copyright (c) {authors}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
SQLITE = "SQLite is in the public domain: its authors disclaim copyright to it (https://www.sqlite.org/copyright.html)."


def notices(name, architecture):
    """The file that lies beside a program."""
    texts = {}
    for crate in crates.crates_of(name, architecture).values():
        if crate["source"] is not None:
            for text in of_crate(crate):
                texts.setdefault(text, set()).add(f"{crate['name']} {crate['version']}")
    for part in crates.native(name, architecture):
        if part.name == "sqlite":
            texts.setdefault(SQLITE, set()).add(f"SQLite {part.version}")
        if part.name == "rust-std":
            texts.setdefault(of_rust(), set()).add(f"Rust's standard library {part.version}")
    parts = [f"{name} contains these works of others.\n"]
    ordered = sorted((", ".join(sorted(users)), text) for text, users in texts.items())
    parts += [f"{'=' * 80}\n{users}\n{'-' * 80}\n{text}\n" for users, text in ordered]
    return "\n".join(parts).encode()


def of_crate(crate):
    """The texts of one crate."""
    directory = os.path.dirname(crate["manifest_path"])
    found, licensed = [], False
    for at, directories, files in os.walk(directory):
        directories.sort()
        for file in sorted(files):
            path = os.path.join(at, file)
            named = os.path.relpath(path, directory) == crate["license_file"] or os.path.basename(at).upper() == "LICENSES"
            licence = LICENCE.match(file) or named
            if (licence or NOTICE.match(file)) and (named or not file.lower().endswith(SOURCES)):
                licensed = licensed or bool(licence)
                with open(path, encoding="utf-8", errors="replace") as opened:
                    found.append(opened.read().strip())
    return found if licensed else [*found, standard(crate)]


def standard(crate):
    """The text of a licence that a crate names and does not bring."""
    named = f"{crate['name']} {crate['version']}"
    # Any of them may be chosen; what demands two at once, or an exception, is for a person to look at.
    choices = re.split(r"\s+OR\s+|\s*/\s*", crate["license"] or "")
    authors = ", ".join(crate["authors"]) or f"the authors of {crate['name']}"
    if "MIT" in choices:
        return MIT.format(authors=authors)
    if "Apache-2.0" in choices:
        with open(os.path.join(ROOT, "LICENSE"), encoding="utf-8") as file:
            return f"Copyright {authors}\n\n{file.read().strip()}"
    raise Refused(
        f"the crate {named} brings no text of its licence ({crate['license'] or 'it names none'})",
        "add the standard text to deploy/images/notices.py, or do without the crate",
    )


def of_rust():
    """The notices of Rust's standard library and of the crates in it."""
    path = os.path.join(crates.toolchain().sysroot, "share", "doc", "rust", "COPYRIGHT-library.html")
    try:
        with open(path, encoding="utf-8") as file:
            page = file.read()
    except FileNotFoundError:
        raise Refused(f"the toolchain has no {path}, the notices of Rust's standard library", "take the toolchain that rustup installs") from None
    body = re.sub(r"(?s)<(head|style|script)\b.*?</\1>", "", page)
    text = html.unescape(re.sub(r"<[^>]*>", "", body))
    return re.sub(r"\n\s*\n+", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()
