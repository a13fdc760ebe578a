"""The ways out of what a run has left, as commands that can be pasted. Pure.

One place decides them, from how the app stands; a run's closing line, the report
and `deploy status` print what is said here and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from shlex import join, quote

_ENOUGH_RETRIES = 5


class Left(Enum):
    """How an app was left."""

    NOTHING = "nothing is unfinished"
    FORWARD = "on the way to a release"
    APP_FAILED = "on the way to a release whose app fails"
    FIRST = "on the way to its first release"
    FIRST_APP_FAILED = "on the way to its first release, whose app fails"
    BACK = "on the way back"
    NO_WAY_BACK = "on the way to a release, with a dead machine that cannot go back"
    STUCK = "with a dead machine that cannot go back"
    OVERTAKEN = "to another deploy, which has gone over it"
    CHANGED = "half way, and then changed by another deploy"
    UNMARKED = "with nothing on the platform that tells of it"
    UNKNOWN = "by a run that has not told how"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """How a run was called, as far as the command that follows has to be called so too.

    `directory`, `config` and `env` (KEY=VALUE) are as they were given, empty where
    they were not; `finish` are the words of the command that goes on with the deploy,
    `terms` the options of the run; `retries` is its count, 0 on the legacy path;
    `waits` is whether somebody else's leases are to be waited for.
    """

    app: str
    directory: str = ""
    config: str = ""
    env: tuple[str, ...] = ()
    finish: tuple[str, ...] = ("resume",)
    terms: tuple[str, ...] = ()
    retries: int = 0
    waits: bool = False

    def resume(self) -> str:
        """With what it needs to describe the same release again."""
        said = {pair for option, pair in pairwise(self.finish) if option == "--env"}
        words = [word for pair in self.env if pair not in said for word in ("--env", pair)]
        words += ["--config", self.config] if self.config else []
        words += [self.directory] if self.directory else []
        return self._command(self.finish, words)

    def rollback(self, to: str = "") -> str:
        return self._command(["rollback", *(["--to", to] if to else [])])

    def history(self) -> str:
        return f"`deploy history --app {quote(self.app)}`"

    def status(self) -> str:
        return f"`deploy status --app {quote(self.app)}`"

    def _command(self, name: Sequence[str], words: Sequence[str] = ()) -> str:
        retries = str(self.retries or _ENOUGH_RETRIES)
        waits = ["--wait-for-lease", "5m"] if self.waits else []
        options = ["--app", self.app, "--deploy-retries", retries, *self.terms, *waits]
        told = join(["deploy", *name, *options, *words])
        return f"`{told}`"


def named(machines: Mapping[str, str]) -> tuple[str, ...]:
    """`web-1 (d8912)` of each machine; `machines` is name by id."""
    return tuple(f"{name or machine_id} ({machine_id})" for machine_id, name in machines.items())


def about_the_dead(machines: Mapping[str, str]) -> str:
    """What becomes of machines whose hosts do not answer; empty where there are none."""
    it = "it" if len(machines) == 1 else "them"
    told = f"the host of {', '.join(named(machines))} does not answer: a deploy replaces {it}"
    return told if machines else ""


def removal(app: str, machine_ids: Collection[str]) -> str:
    """How to remove what is left over; empty where there is nothing."""
    command = f"fly machine destroy --force --app {app} {' '.join(machine_ids)}"
    return f"left over, remove with: {command}" if machine_ids else ""


def about_the_cordoned(app: str, machine_ids: Collection[str]) -> str:
    """What to do with machines that stay cordoned; empty where there are none."""
    uncordon = join(["fly", "machine", "uncordon", "--app", app, *machine_ids])
    destroy = join(["fly", "machine", "destroy", "--force", "--app", app, *machine_ids])
    ways = f"`{uncordon}` puts back what is to serve, `{destroy}` removes what is left over"
    return ways if machine_ids else ""


_THE_SAME_FOR_ALL = {
    Left.NOTHING: "",
    Left.STUCK: "deploy what is to run: that replaces what cannot be brought back",
    Left.FIRST_APP_FAILED: "fix the app and deploy again; nothing ran before",
    Left.CHANGED: "`deploy --image IMAGE` brings all machines to one release, the other's included",
}


def ways_out(left: Left, called: Invocation) -> str:
    """What to do next, in one line; empty where there is nothing to do."""
    match left:
        case Left.FORWARD:
            return f"{called.resume()} finishes it, {called.rollback()} undoes it"
        case Left.APP_FAILED:
            return f"{called.rollback()} undoes it; or fix the app and deploy again"
        case Left.FIRST | Left.NO_WAY_BACK:
            return f"{called.resume()} finishes it"
        case Left.BACK:
            return f"{called.rollback()} goes on with it"
        case Left.OVERTAKEN | Left.UNMARKED:
            return f"{called.status()} shows what runs; deploy again if this release is wanted"
        case Left.UNKNOWN:
            return f"{called.status()} shows what runs, and the ways out of what is unfinished"
        case _:
            return _THE_SAME_FOR_ALL[left]
