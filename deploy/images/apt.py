"""Asks Debian for packages through apt, with lists of its own: for any processor, whatever release this machine has,
and without root.

The mirror is the one that this machine's apt has, or `$DEBIAN_MIRROR` (the address above `/debian`). Where neither is
Debian's, apt answers nothing here.
"""

import glob
import os
import re
import subprocess
import tempfile

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Apt:
    """The packages of one release of Debian for one processor; lists are fetched when they are first needed."""

    def __init__(self, suite, architecture, cache):
        self.state = os.path.join(cache, f"apt-{suite}-{architecture}")
        self.suite, self.architecture = suite, architecture
        self.refreshed = False
        # The last line of the last complaint.
        self.problem = ""

    def download(self, what):
        """The bytes of `NAME` or `NAME=VERSION`; nothing if that is not served, or apt is not there."""
        with tempfile.TemporaryDirectory() as work:
            for _ in range(2):
                if self._run("apt-get", "download", "-qq", what, directory=work) is not None:
                    files = glob.glob(os.path.join(work, "*.deb"))
                    if files:
                        with open(files[0], "rb") as file:
                            return file.read()
                if not self.refresh():
                    return None
        return None

    def show(self, name):
        """The fields of the newest version that is served, or nothing."""
        self.refresh()
        shown = self._run("apt-cache", "show", "--no-all-versions", name)
        return dict(re.findall(r"^(\S+): (.+)$", shown or "", re.M))

    def refresh(self):
        """Fetches the lists, once; answers whether they are new."""
        if self.refreshed:
            return False
        self.refreshed = True
        sites = mirrors()
        if not sites:
            return False
        os.makedirs(os.path.join(self.state, "lists", "partial"), exist_ok=True)
        os.makedirs(os.path.join(self.state, "archives", "partial"), exist_ok=True)
        signed = f"[signed-by={KEYRING}]"
        with open(os.path.join(self.state, "sources.list"), "w", encoding="utf-8") as file:
            for site in sites:
                suite = f"{self.suite}-security" if site.endswith("-security") else self.suite
                file.write(f"deb {signed} {site} {suite} main\n")
        return self._run("apt-get", "update", "-qq") is not None

    def _run(self, program, *words, directory=None):
        """What it prints; nothing if it fails."""
        settings = {
            "Dir::State": self.state,
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.state,
            "Dir::Etc::SourceList": os.path.join(self.state, "sources.list"),
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            # Else it becomes another user, who may not write here.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        try:
            done = subprocess.run([program, *options, *words], cwd=directory, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        if done.returncode != 0:
            self.problem = (done.stderr.strip().splitlines() or [""])[-1]
            return None
        return done.stdout


def mirrors():
    """Where Debian's packages and those of its security team are."""
    named = os.environ.get("DEBIAN_MIRROR")
    if named:
        return [f"{named}/debian", f"{named}/debian-security"]
    try:
        command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return sorted({site for site in done.stdout.split() if re.search(r"/debian(-security)?$", site)})
