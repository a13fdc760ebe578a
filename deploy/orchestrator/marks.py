"""What marks a deploy on the platform while it is under way: the intent, on one machine a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from deploy.api.machine import Fleet
from deploy.errors import DeployError, Meaning
from deploy.events import Noticed
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.tools import Tools
from deploy.plan.intent import Intent, carriers, carrying, has_mark_of, read_intent
from deploy.plan.stamps import INTENT, fly_release


class Marks:
    """The intent of one run: who carries it, and whether it says what is so."""

    def __init__(self, tools: Tools, memory: Memory) -> None:
        self._tools = tools
        self._memory = memory
        self._carried: set[str] = set()
        self._theirs: dict[str, str] = {}  # machine id -> the mark that was there before ours
        self._gone_over: set[str] = set()  # the deploys that these were of
        self._announced: Intent | None = None

    def took_up(self, machine_ids: Iterable[str]) -> None:
        """These machines carry the intent of the deploy that is taken up."""
        self._carried |= set(machine_ids)

    async def lost(self) -> None:
        """Another deploy has been here: of our marks, those that a read shows are left.

        One that old lists led us to write over what that deploy had finished counts for
        nobody, and would stay. A list may be from before we wrote it.
        """
        self._carried = {each for each in sorted(self._carried) if await self._still_has_ours(each)}
        self._theirs.clear()
        self._announced = None

    async def _still_has_ours(self, machine_id: str) -> bool:
        read = partial(self._tools.client.find_machine, machine_id)
        try:
            machine = await self._tools.patience.ask(read)
        except DeployError:
            return False  # then it may be the other's: that is not removed
        return machine is not None and has_mark_of(machine, self._memory.release.deploy_id)

    async def announce(self, intent: Intent, fleet: Fleet, otherwise: Iterable[str] = ()) -> None:
        """Write the intent where it stands already, or on the machines `otherwise`; once.

        After a hiccup the next pass writes all of it again.
        """
        if self._announced == intent:
            return
        for machine_id in sorted(self._carried or otherwise):
            if machine_id in self._memory.known:
                self._carried.add(machine_id)
                await self._write(intent, machine_id, fleet)
        self._announced = intent

    async def _if_there(self, machine_id: str, write: Awaitable[None]) -> None:
        """Of a machine that reads did not find: it may be there all the same, and carry a mark."""
        try:
            await write
        except DeployError as failure:
            if failure.meaning is not Meaning.MISSING or machine_id in self._memory.known:
                raise

    async def _write(self, intent: Intent, machine_id: str, fleet: Fleet) -> None:
        machine = fleet.by_id.get(machine_id)
        text = intent.dump(fly_release(machine)[0] if machine else "")
        await self._tools.client.write_metadata(machine_id, INTENT, text)

    def carried_by(self, fleet: Fleet, intent: Intent) -> Fleet:
        """The fleet as it is after the intent was written, for a plan from an earlier look."""
        return carrying(fleet, intent, self._carried)

    def find_own(self, fleet: Fleet) -> None:
        """Machines that this deploy made may have been born with its intent."""
        for machine in fleet.managed:
            intent = read_intent(machine)
            if intent is not None and intent.deploy == self._memory.release.deploy_id:
                self._carried.add(machine.id)

    def others(self, fleet: Fleet) -> dict[str, Intent]:
        """The intents of deploys that are not this one, by machine."""
        intents = {machine.id: read_intent(machine) for machine in fleet.managed}
        ours = self._memory.release.deploy_id
        return {id_: left for id_, left in intents.items() if left and left.deploy != ours}

    def take_over(self, fleet: Fleet) -> None:
        """Say which unfinished deploy this one goes over, and write on its marks."""
        others = self.others(fleet)
        self._carried |= others.keys()
        self._theirs |= {id_: fleet.by_id[id_].metadata[INTENT] for id_ in others}
        self._gone_over |= {left.deploy for left in others.values()}
        for deploy, image in {(left.deploy, left.image): None for left in others.values()}:
            message = f"taking over deploy {deploy} of {image}, which was not finished"
            self._tools.emit(Noticed(message=message))

    async def renew(self, fleet: Fleet | None, leased: Callable[[str], bool]) -> bool:
        """The deploy is left unfinished: who takes it up has to find it. Whether that is so.

        The platform may have put the machines that carried its mark back to what they
        were, with the mark of a deploy that this one has gone over. Only where no other mark
        is left, and on machines that our leases keep others from.
        Where nothing can be seen any more (None), what was seen of them before counts.
        """
        ours = self._announced
        if fleet is None:
            gone = self._carried & self._memory.taken_back
            if not gone:
                return True
            fleet = Fleet.of(m for m in self._memory.known_base.machines if m.id in gone)
        intents = {machine.id: read_intent(machine) for machine in fleet.managed}
        marked = {id_: intent.deploy for id_, intent in intents.items() if intent is not None}
        if ours is None or not self._gone_over.issuperset(marked.values()):
            return True
        held = Fleet.of(machine for machine in fleet if leased(machine.id))
        to_mark = {*carriers(held), *(marked.keys() & held.by_id.keys())}
        try:
            for machine_id in sorted(to_mark):
                await self._tools.patience.ask(partial(self._write, ours, machine_id, fleet))
        except DeployError as failure:
            what = "the mark of this deploy is gone, and could not be written again"
            self._tools.emit(Noticed(message=f"{what}: {failure}"))
            return False
        return bool(to_mark)

    async def remove(self, fleet: Fleet, is_kept: Callable[[str], bool] | None = None) -> None:
        """The deploy is over, either way. What fails is said, and changes nothing about that.

        `is_kept` is given where it is undone: the app is as it was before, and a deploy that
        was unfinished then is so again, on the machines that others are kept from.
        """
        self.find_own(fleet)
        client = self._tools.client
        marked = self._carried | self._memory.born_marked
        for machine_id in sorted(marked):
            if self._memory.has_ended(machine_id):
                continue
            write = partial(client.delete_metadata, machine_id, INTENT)
            harm = "it does no harm: the next deploy writes over it"
            if machine_id in self._theirs and is_kept is not None and is_kept(machine_id):
                before = self._theirs[machine_id]
                write = partial(client.write_metadata, machine_id, INTENT, before)
                harm = "the deploy that this one took over may not be found: deploy anew to end it"
            await clean_up(
                self._tools,
                self._if_there(machine_id, self._tools.patience.ask(write)),
                f"the mark of this deploy stays on {machine_id}",
                harm,
            )
        self._carried.clear()


async def clean_up(tools: Tools, write: Awaitable[None], what: str, hint: str) -> None:
    """A write that tidies up; if it fails, `what` is said to be left."""
    try:
        await write
    except DeployError as failure:
        tools.emit(Noticed(message=f"{what}: {failure}", hint=hint))
