"""Who runs a deploy, and from which revision: for the record, and for nothing else."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

# GitHub Actions, GitLab, Buildkite, CircleCI; as their documentation names them.
_USERS = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILDKITE_BUILD_CREATOR", "CIRCLE_USERNAME")
_COMMITS = ("GITHUB_SHA", "CI_COMMIT_SHA", "BUILDKITE_COMMIT", "CIRCLE_SHA1")
_GIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Empty where it is not known."""

    user: str
    commit: str


def origin(environ: Mapping[str, str]) -> Origin:
    """What the CI says, else the account and the revision of the present directory."""
    user = next((environ[name] for name in _USERS if environ.get(name)), "")
    commit = next((environ[name] for name in _COMMITS if environ.get(name)), "")
    return Origin(user or _account(), commit or _head())


def _account() -> str:
    with suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return ""


def _head() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - the git that the person uses
            capture_output=True,
            text=True,
            timeout=_GIT_S,
            check=True,
        )
        return done.stdout.strip()
    return ""
