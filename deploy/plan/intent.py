"""What a deploy leaves on the platform, so that another computer can finish or undo it.

One machine of each group carries it as metadata from before the first write
until the end. Pure: how it is written and read is told here, when is not.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

from deploy.api.machine import Fleet, Machine
from deploy.plan.release import RESUME, Release
from deploy.plan.stamps import INTENT, fly_release, is_stamped

FORWARD = "forward"
BACK = "back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The deploy that is under way: `digest` is its release's, `direction` forward or back.

    `finish` are the words of the command that goes on with it; `number` is that of its
    release, 0 where an intent does not tell it.
    """

    deploy: str
    digest: str
    image: str
    strategy: str
    direction: str = FORWARD
    finish: tuple[str, ...] = RESUME
    number: int = 0

    @classmethod
    def of(cls, release: Release) -> Intent:
        return cls(
            deploy=release.deploy_id,
            digest=release.digest,
            image=release.image,
            strategy=release.strategy,
            finish=release.finish,
            number=release.number,
        )

    def turned_back(self) -> Intent:
        return replace(self, direction=BACK)

    def dump(self, beside: str = "") -> str:
        """As it is written, `beside` Fly's release id on the machine."""
        fields = asdict(self) | ({"beside": beside} if beside else {})
        if self.finish == RESUME:
            del fields["finish"]
        return json.dumps(fields, separators=(",", ":"), sort_keys=True)


def read_intent(machine: Machine) -> Intent | None:
    """The intent that a machine carries, None where there is none or it is not ours to read.

    It counts while Fly's release id on the machine is the one that it was written
    beside, or the deploy's own: another tool that goes over the machine copies the
    metadata forward and writes its own id.
    """
    intent, beside = _read(machine)
    if intent is None:
        return None
    is_ours = not beside or fly_release(machine)[0] in (beside, intent.deploy)
    return intent if is_ours else None


def has_mark_of(machine: Machine, deploy_id: str) -> bool:
    """Whether it carries the intent of that deploy, be it one that counts or not."""
    intent, _ = _read(machine)
    return intent is not None and intent.deploy == deploy_id


def _read(machine: Machine) -> tuple[Intent | None, str]:
    """The intent as it is written, and Fly's release id that it was written beside."""
    try:
        fields = json.loads(machine.metadata.get(INTENT, "null"))
        beside = str(fields.pop("beside", ""))
        finish = tuple(str(word) for word in fields.pop("finish", RESUME))
        number = int(fields.pop("number", 0))
        texts = {key: str(value) for key, value in fields.items()}
        intent = Intent(**texts, finish=finish, number=number)
    except (ValueError, TypeError, OverflowError, AttributeError, RecursionError):
        return None, ""
    return intent, beside


def overtaker(fleet: Fleet, intent: Intent) -> Machine | None:
    """A machine on a later release than that of the unfinished deploy: another has been here."""
    for machine in fleet.managed:
        release_id, number = fly_release(machine)
        if release_id not in ("", intent.deploy) and number >= (intent.number or math.inf):
            return machine
    return None


def overtaken_by(machine: Machine) -> str:
    """Who has gone over the machine since, in words."""
    other = f"another deploy, {fly_release(machine)[0]} of {machine.image}"
    return f"{other}, has changed machine {machine.name or machine.id}"


def unproved(fleet: Fleet) -> list[str]:
    """The machines that an unfinished deploy wrote to.

    Nothing says whether they have stayed healthy, or passed their machine checks.
    """
    unfinished = {intent.deploy for machine in fleet.managed if (intent := read_intent(machine))}
    return [
        machine.id
        for machine in fleet.managed
        if any(is_stamped(machine, each) for each in unfinished)
    ]


def carriers(fleet: Fleet) -> list[str]:
    """The machine of each group that carries the intent: the lowest id on a host that answers."""
    lowest: dict[str, str] = {}
    for machine in sorted(fleet.managed, key=lambda each: each.is_dead):
        lowest.setdefault(machine.group, machine.id)
    return sorted(lowest.values())


def is_outdated(listed: Machine | None, read: Machine | None) -> bool:
    """Whether a list is from before the last deploy, by a machine that would carry its intent.

    A deploy writes to these first and last, and a read does not lag.
    """
    if listed is None or read is None:
        return listed is not read
    return (listed.version, read_intent(listed)) != (read.version, read_intent(read))


def carrying(fleet: Fleet, intent: Intent, machine_ids: set[str]) -> Fleet:
    """The fleet as it is after the intent was written, for plans made from an earlier look."""
    return Fleet(tuple(_carrying(m, intent) if m.id in machine_ids else m for m in fleet))


def _carrying(machine: Machine, intent: Intent) -> Machine:
    metadata = {**machine.metadata, INTENT: intent.dump(fly_release(machine)[0])}
    return replace(machine, config={**machine.config, "metadata": metadata})
