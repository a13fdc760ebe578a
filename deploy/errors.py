"""Everything that can go wrong in a deploy, split by who must act.

    DeployError                 message, hint, and a `meaning`; rendered once, in cli.py
    |-- UsageProblem            the person deploying: options, environment, fly.toml, flags
    |-- BuildFailed             the person deploying: the Dockerfile, the engine or the registry
    |-- AppFailed               the owner of the app: it exits, or its checks fail
    |-- HookFailed              the owner of the app, whose pre-deploy hook says no
    |-- CallFailed              one call to the platform; its meaning comes from the answer
    |-- NotTheApi               who set the address or the proxy: nothing there can be read
    |-- Miscounted              the platform: its list is not what it counts, or what a read shows
    |-- NotInTime               a machine did not get where it was sent; no reason was given
    |-- TakenBack               a machine runs another version than the one that was written
    |-- ShownUndone             an action was seen to be done, and a later look shows it undone
    |-- HostLost                a volume on a host that does not answer
    |-- LeaseHeld               another deploy holds a lease that this one needs
    |-- LeaseLost               a lease of ours is gone; writes to that machine stop
    |   `-- LeaseTaken          and somebody else has it now
    |-- Overtaken               another deploy has been here since this one began
    |-- Outage                  the platform answers nothing at all
    |-- DeadlinePassed          the time that --deadline allows is over
    |-- Interrupted             the person deploying, by Ctrl-C or SIGTERM
    `-- OwnFault                who maintains this program

A meaning is given once, where the failure arises, and never concluded from a
text again. It says whether another pass can help, and which exit code a run
ends with that left the app as it was. Exit codes are an interface: they are
listed in README.md and in `deploy --help`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_IN_BETWEEN = 3
EXIT_REFUSED = 4
EXIT_LEASED = 5
EXIT_OUTAGE = 6
EXIT_NOT_BUILT = 7
EXIT_INTERRUPTED = 130


class Meaning(Enum):
    """What to do about a failure, and the exit code of a run that it ends."""

    REPEAT = "it surely did not happen: do it again in the next pass"
    UNSETTLED = "it may have happened: a read must settle it before anything is written"
    BUSY = "the machine is in motion: let it settle, then look again"
    CHANGED = "somebody changed it: read again, plan again"
    MISSING = "not there: list again"
    NOT_YET = "the wait ended before the state was reached: ask again"
    RELOCATE = "this host will not take it: replace the machine elsewhere"
    LEASE_LOST = "our lease is gone: take it again, then look"
    LEASE_TAKEN = "somebody else has taken it: take it again, then look"
    NAME_TAKEN = "the name exists: read that machine and adopt it if it is ours"
    LEASED = "somebody else holds the lease"
    REJECTED = "the request or the token is wrong"
    USAGE = "it cannot be done as it was asked for"
    NOT_BUILT = "there is no image to deploy: nothing was begun"
    APP = "the app is broken: deploying again would break it again"
    BLOCKED = "only the platform or a person can clear the way"
    OUTAGE = "the platform is down"
    INTERRUPTED = "a person wants the run to end"

    @property
    def is_hiccup(self) -> bool:
        """Whether another pass can help."""
        return self in _HICCUPS

    @property
    def outcome_known(self) -> bool:
        """Whether the write surely did not happen."""
        return self is not Meaning.UNSETTLED

    @property
    def exit_code(self) -> int:
        """The code of a run that this ended with the app as it was before."""
        return _EXIT_CODES.get(self, EXIT_FAILED)


_HICCUPS = frozenset(
    {
        Meaning.REPEAT,
        Meaning.UNSETTLED,
        Meaning.BUSY,
        Meaning.CHANGED,
        Meaning.MISSING,
        Meaning.NOT_YET,
        Meaning.RELOCATE,
        Meaning.LEASE_LOST,
        Meaning.LEASE_TAKEN,
    }
)

_EXIT_CODES = {
    Meaning.USAGE: EXIT_USAGE,
    Meaning.REJECTED: EXIT_REFUSED,
    Meaning.NAME_TAKEN: EXIT_REFUSED,
    Meaning.LEASED: EXIT_LEASED,
    Meaning.LEASE_TAKEN: EXIT_LEASED,
    Meaning.OUTAGE: EXIT_OUTAGE,
    Meaning.NOT_BUILT: EXIT_NOT_BUILT,
    Meaning.INTERRUPTED: EXIT_INTERRUPTED,
}


class DeployError(Exception):
    """What happened, in one line, and what to do next.

    `operation` and `machine_id` say what was being done to which machine, empty
    where it was no single one; `retry_after_s` is the pause that the platform
    asked for, in seconds.
    """

    meaning = Meaning.BLOCKED
    operation = ""
    retry_after_s: float | None = None

    def __init__(self, message: str, *, machine_id: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.machine_id = machine_id
        self.hint = hint

    @property
    def exit_code(self) -> int:
        return self.meaning.exit_code


class UsageProblem(DeployError):
    """The command, its environment, fly.toml or the flags file cannot be used as given."""

    meaning = Meaning.USAGE


class BuildFailed(DeployError):
    """The image could not be built or pushed; the platform was not asked for anything."""

    meaning = Meaning.NOT_BUILT


class AppFailed(DeployError):
    """The app is broken on a machine: retrying the deploy would not fix it.

    `log` is the last lines that the machine wrote, None where the platform has none.
    """

    meaning = Meaning.APP
    log: tuple[str, ...] | None = None


class HookFailed(DeployError):
    """The pre-deploy hook failed: nothing was begun."""

    meaning = Meaning.APP


class CallFailed(DeployError):
    """One call to the platform that brought no usable answer.

    `status` is the HTTP status, or None when no complete answer came; `holder`
    is the id of the machine that has the name which a create asked for. What is
    `garbled` was answered, and cannot be read. Made by `deploy.api.meaning`, which
    reads the meaning off the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        meaning: Meaning,
        machine_id: str = "",
        status: int | None = None,
        holder: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
        garbled: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(message, machine_id=machine_id, hint=hint)
        self.garbled = garbled
        self.operation = operation
        self.meaning = meaning
        self.status = status
        self.holder = holder
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        where = f" {self.machine_id}" if self.machine_id else ""
        answer = f" ({self.status})" if self.status is not None else ""
        trace = f" [fly-request-id {self.request_id}]" if self.request_id else ""
        return f"{self.operation}{where}{answer}: {self.message}{trace}"


class NotTheApi(DeployError):
    """An address where nothing has ever been answered that can be read."""

    meaning = Meaning.REJECTED


class Miscounted(DeployError):
    """Fewer machines are listed than the app is said to have, or others than are there."""

    meaning = Meaning.REPEAT
    operation = "list"


class NotInTime(DeployError):
    """A machine was not seen where it was sent before the deadline."""

    meaning = Meaning.NOT_YET
    operation = "wait"


class CannotStart(NotInTime):
    """The platform could not bring a machine up, and does not say that the image is why."""


class TakenBack(DeployError):
    """A machine runs another version than the one that was written to it."""

    meaning = Meaning.CHANGED
    operation = "wait"


class ShownUndone(DeployError):
    """An action was seen to be done, and a later look shows it undone."""

    meaning = Meaning.CHANGED


class HostLost(DeployError):
    """A machine cannot be moved, since its volume is on a host that does not answer."""


class LeaseHeld(DeployError):
    """Somebody else holds the lease of a machine."""

    meaning = Meaning.LEASED


class LeaseLost(DeployError):
    """A lease could not be had or kept; nothing says that anybody else has it."""

    meaning = Meaning.LEASE_LOST


class LeaseTaken(LeaseLost):
    """Somebody else has a lease that this run held."""

    meaning = Meaning.LEASE_TAKEN


class Overtaken(DeployError):
    """Another deploy has changed machines since this one looked first: the app is now that one's.

    It can happen only while this run had lost its leases.
    """

    meaning = Meaning.LEASED


class Outage(DeployError):
    """No call to the platform has succeeded for so long that waiting on would be guessing."""

    meaning = Meaning.OUTAGE


class DeadlinePassed(DeployError):
    """The run took longer than it was allowed to."""


class Interrupted(DeployError):
    """Somebody wants the run to end now."""

    meaning = Meaning.INTERRUPTED


class OwnFault(DeployError):
    """A bug in this program. A run may have been under way, so the app may be in between."""

    @property
    def exit_code(self) -> int:
        return EXIT_IN_BETWEEN


def each_of(error: Exception) -> Iterator[Exception]:
    """Tasks that fail together fail as a group, and groups may be nested."""
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from each_of(each)
    else:
        yield error


def as_ours(error: Exception) -> DeployError:
    """The error itself, or as a fault of this program what is not one of ours."""
    if isinstance(error, DeployError):
        return error
    return OwnFault(
        f"tidegate itself failed: {type(error).__name__}: {error}",
        hint="TIDEGATE_TRACEBACK=1 shows where, for a bug report",
    )
