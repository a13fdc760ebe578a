"""The answers that say no, with the exact words of the real platform.

The texts matter: deploy clients tell a hiccup from a held lease by them. Where
the wording comes from the real API it is kept to the letter.
"""

from __future__ import annotations

from datetime import UTC, datetime


class Refusal(Exception):
    """An answer other than 2xx: HTTP status, text, and the `status` code of the body if any."""

    def __init__(
        self, status: int, text: str, *, code: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code
        self.retry_after_s = retry_after_s


def invalid(why: str) -> Refusal:
    return Refusal(400, f"invalid_argument: {why}")


def app_unknown(app: str) -> Refusal:
    return Refusal(404, f"app {app!r} not found")


def app_exists(app: str) -> Refusal:
    return Refusal(422, f"name {app!r} has already been taken", code="name_taken")


def machine_unknown() -> Refusal:
    return Refusal(404, "machine not found")


def lease_unknown() -> Refusal:
    return Refusal(404, "lease not found")


def lease_held(machine_id: str, owner: str, expires_at: int) -> Refusal:
    until = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Refusal(
        409, f"machine ID {machine_id} lease currently held by {owner}, expires at {until}"
    )


def name_taken(machine_id: str) -> Refusal:
    return Refusal(409, f"already_exists: unique machine name violation, machine ID {machine_id}")


def update_in_progress(state: str = "replacing") -> Refusal:
    return Refusal(409, f"aborted: machine is {state}: concurrent update in progress")


def version_moved(current: str) -> Refusal:
    return Refusal(
        409, f"aborted: current_version mismatch: the machine's version is now {current}"
    )


def metadata_version_moved(current: str) -> Refusal:
    return Refusal(
        412, f"failed_precondition: machine_version mismatch: the machine is on version {current}"
    )


def being_replaced() -> Refusal:
    return Refusal(412, "failed_precondition: machine getting replaced, refusing to start")


def not_from_state(verb: str, state: str) -> Refusal:
    return Refusal(
        412, f"failed_precondition: unable to {verb} machine from current state: '{state}'"
    )


def not_reached(wanted: str, current: str) -> Refusal:
    return Refusal(
        408,
        f"deadline_exceeded: machine failed to reach desired state, {wanted}, currently {current}",
    )


def host_lost() -> Refusal:
    return Refusal(503, "unavailable: the machine's host cannot be reached")
