"""What is known of the tree that the images are made of: version, licence, commit and its time."""

import datetime
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Refused(Exception):
    """Something that cannot be done as it was asked for, with what to do next."""

    def __init__(self, message, hint):
        super().__init__(message)
        self.hint = hint


class Source:
    """The tree. Without git, in an archive of the source, the commit is $BUILD_COMMIT or empty, and the time
    $SOURCE_DATE_EPOCH or the beginning of 1970."""

    def __init__(self, url=None, commit=None, created=None):
        with open(os.path.join(ROOT, "Cargo.toml"), encoding="utf-8") as file:
            manifest = file.read()
        self.version = re.search(r'^version = "(.+)"$', manifest, re.M).group(1)
        self.licenses = re.search(r'^license = "(.+)"$', manifest, re.M).group(1)
        self.url = url
        self.commit = commit or os.environ.get("BUILD_COMMIT") or self._commit()
        epoch = os.environ.get("SOURCE_DATE_EPOCH") or git("show", "-s", "--format=%ct", "HEAD") or "0"
        self.created = created or datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def stamp(self):
        """The environment in which a build of the programs knows its commit (`--version`, `build_info`)."""
        if not self.commit:
            return {}
        commit, dirty, _ = self.commit.partition("-dirty")
        return {"BUILD_COMMIT": commit[:12] + dirty, "BUILD_DATE": self.created[:10]}

    def license_text(self):
        with open(os.path.join(ROOT, "LICENSE"), "rb") as file:
            return file.read()

    @staticmethod
    def _commit():
        commit = git("rev-parse", "HEAD")
        if commit and git("status", "--porcelain", "--untracked-files=no"):
            commit += "-dirty"
        return commit


def git(*words):
    """What git says of this tree; nothing where it is not a checkout, or git is not there."""
    if not os.path.exists(os.path.join(ROOT, ".git")):
        return ""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
