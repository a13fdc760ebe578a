"""Everything that can go wrong in a deploy, split by who must act.

    DeployError                 message, hint, exit code; rendered once, in cli.py
    |-- UsageProblem        2   the person deploying: options, environment, fly.toml, flags
    |-- AppFailed           1   the owner of the app: it exits, or its checks fail
    |-- CallFailed              one call to the platform; `verdict` says what it means
    |-- LeaseHeld           5   another deploy holds a lease that this one needs
    |-- LeaseLost           5   a lease of ours is gone; writes to that machine stop
    |-- Overtaken           5   another deploy has been here since this one began
    |-- Outage              6   the platform answers nothing at all
    |-- DeadlinePassed      1   the time that --deadline allows is over
    `-- Interrupted       130   the person deploying, by Ctrl-C or SIGTERM

Exit codes are an interface: they are listed in README.md and in `deploy --help`.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_IN_BETWEEN = 3
EXIT_REFUSED = 4
EXIT_LEASED = 5
EXIT_OUTAGE = 6
EXIT_INTERRUPTED = 130


class DeployError(Exception):
    """What happened, in one line, and what to do next.

    `exit_code` is the code that ends the command when this error ends a run
    that left the app as it was.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageProblem(DeployError):
    """The command, its environment, fly.toml or the flags file cannot be used as given."""

    exit_code = EXIT_USAGE


class AppFailed(DeployError):
    """The app is broken on a machine: retrying the deploy would not mend it."""

    def __init__(self, message: str, *, machine_id: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.machine_id = machine_id


class CallFailed(DeployError):
    """One call to the platform that brought no usable answer, as it was seen on the wire.

    `status` is the HTTP status, or None when no complete answer came; `sent` is
    False only when the request surely never reached the server; `code` is the
    `status` field of Fly's error body; `retry_after_s` is in seconds. What the
    failure *means* is decided in one place only: `deploy.verdict`.
    """

    exit_code = EXIT_REFUSED

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        machine_id: str = "",
        status: int | None = None,
        sent: bool = True,
        code: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.operation = operation
        self.machine_id = machine_id
        self.status = status
        self.sent = sent
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        where = f" {self.machine_id}" if self.machine_id else ""
        answer = f" ({self.status})" if self.status is not None else ""
        trace = f" [fly-request-id {self.request_id}]" if self.request_id else ""
        return f"{self.operation}{where}{answer}: {self.message}{trace}"


class LeaseHeld(DeployError):
    """Somebody else holds the lease of a machine; `expires_at` is in Unix seconds, 0 if unknown."""

    exit_code = EXIT_LEASED

    def __init__(
        self, message: str, *, machine_id: str, owner: str = "", expires_at: int = 0, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.machine_id = machine_id
        self.owner = owner
        self.expires_at = expires_at


class LeaseLost(DeployError):
    """A lease that this run held has expired or was taken."""

    exit_code = EXIT_LEASED

    def __init__(self, message: str, *, machine_id: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.machine_id = machine_id


class Overtaken(DeployError):
    """Another deploy has changed machines since this one looked first: the app is now that one's.

    It can happen only while this run had lost its leases.
    """

    exit_code = EXIT_LEASED


class Outage(DeployError):
    """No call to the platform has succeeded for so long that waiting on would be guessing."""

    exit_code = EXIT_OUTAGE


class DeadlinePassed(DeployError):
    """The run took longer than it was allowed to."""


class Interrupted(DeployError):
    """Somebody wants the run to end now."""

    exit_code = EXIT_INTERRUPTED
