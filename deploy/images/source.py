"""What is known of the tree that the images are made of (version, licence, commit and its time), and how a script ends.

The scripts import this first, so that it can tell a Python that is too old before it reads what it cannot.
"""

import datetime
import os
import re
import subprocess
import sys

if sys.version_info < (3, 11):
    sys.exit("images: this is Python %d.%d, and 3.11 is the oldest that will do\nhint: put a newer `python3` first on the PATH" % sys.version_info[:2])

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Refused(Exception):
    """Something that cannot be done as it was asked for, with what to do next."""

    def __init__(self, message, hint):
        super().__init__(message)
        self.hint = hint


def guarded(prefix, main):
    """Runs `main` and answers the status to exit with: what goes wrong is told in words."""
    try:
        return main()
    except Refused as refused:
        message, hint = refused, refused.hint
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
        hint = "look at the rights of what it names, and at the room that is left on the disk"
    print(f"{prefix}: {message}\nhint: {hint}", file=sys.stderr)
    return 1


def told(kind, error, trace):
    """Shows what nobody caught, unless it is an interruption: who interrupts knows it."""
    if kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = told


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
        self.created = created or time_of(os.environ.get("SOURCE_DATE_EPOCH") or git("show", "-s", "--format=%ct", "HEAD") or "0")

    def stamp(self):
        """The environment in which a build of the programs knows its commit (`--version`, `build_info`)."""
        if not self.commit:
            return {}
        return {"BUILD_COMMIT": self.short_commit(), "BUILD_DATE": self.created[:10]}

    def short_commit(self):
        """The commit as the programs say it."""
        commit, dirty, _ = self.commit.partition("-dirty")
        return commit[:12] + dirty

    def license_text(self):
        with open(os.path.join(ROOT, "LICENSE"), "rb") as file:
            return file.read()

    @staticmethod
    def _commit():
        commit = git("rev-parse", "HEAD")
        if commit and git("status", "--porcelain", "--untracked-files=no"):
            commit += "-dirty"
        return commit


def time_of(epoch):
    """Seconds since 1970 as images write a time."""
    try:
        # `int` alone takes `1_0`, and blanks.
        if not re.fullmatch(r"[0-9]+", epoch):
            raise ValueError
        at = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise Refused(f"$SOURCE_DATE_EPOCH is `{epoch}`, which is no time", "give it as seconds since 1970: git show -s --format=%ct") from None
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def git(*words):
    """What git says of this tree; nothing where it is not a checkout, or git is not there."""
    if not os.path.exists(os.path.join(ROOT, ".git")):
        return ""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
