"""Another tool beside ours: it does what flyctl does, and the laws hold between the two."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from deploy.commands import taking_up
from deploy.orchestrator import passes
from deploy.plan.stamps import DEPLOY
from tests.simulation.laws import managed
from tests.simulation.laws_of_calls import has_written
from tests.simulation.test_checkers import writes_without_leases
from tests.simulation.weather import draw, faults_of, live_through
from tests.worlds.simulated import other_tool
from tests.worlds.simulated.faults import BY_NAME, Kind
from tests.worlds.simulated.story import Story
from tests.worlds.simulated.transport import Call, Faults, NoFaults
from tests.worlds.simulated.world import OLD, Scenario, World, tell

THEIRS = f"{OLD[:-1]}3"
Break = Callable[[pytest.MonkeyPatch], None]


def alone(faults: Faults) -> Story:
    async def play(world: World) -> None:
        await other_tool.deploy(world, THEIRS, faults)
        await anyio.sleep(20)
        world.story.after = world.snapshot()

    return tell(Scenario(cold=1), play)


class Fails:
    """The first call of an operation is struck."""

    def __init__(self, operation: str, kind: str) -> None:
        self._operation, self._kind = operation, BY_NAME[kind]

    def strike(self, call: Call) -> Kind | None:
        is_it = (call.operation, call.nth) == (self._operation, 0)
        return self._kind if is_it else None


def test_it_copies_metadata_forward_and_writes_a_release_id_of_its_own() -> None:
    story = alone(NoFaults())
    before, after = managed(story.before), managed(story.after)
    for id_, machine in after.items():
        metadata = machine.config["metadata"]
        assert machine.image == THEIRS
        assert metadata["fly_release_id"] == other_tool.NAME
        assert int(metadata["fly_release_version"]) == 2
        assert metadata[DEPLOY] == before[id_].config["metadata"][DEPLOY]
        assert machine.state == before[id_].state
    assert not any(machine.lease for machine in story.after.values())


def test_it_takes_all_leases_at_once_and_writes_nothing_without_one_of_them() -> None:
    story = alone(Fails("acquire", "409 leased"))
    asked = [call for call in story.calls if call.operation == "acquire"]
    assert len(asked) == 3
    assert len({call.sent_s for call in asked}) == 1
    assert not has_written(story, story.others[0])
    assert not any(machine.lease for machine in story.after.values())


def test_it_tries_again_what_is_answered_502_and_stops_at_anything_else() -> None:
    again, over = alone(Fails("update", "HTML 502")), alone(Fails("update", "429 with Retry-After"))
    assert {machine.image for machine in managed(again.after).values()} == {THEIRS}
    assert {machine.image for machine in managed(over.after).values()} == {OLD}


@pytest.mark.parametrize(
    "seed",
    [
        48001359,
        42000255,
        42000661,
        42002242,
        42004032,
        42008453,
        44000003,
        44000408,
        44001683,
        44002763,
        46009955,
        60005399,
    ],
)
def test_beside_another_tool_the_laws_hold(seed: int) -> None:
    weather = draw(seed)
    assert weather.beside_another
    assert faults_of(weather, live_through(weather)) == [], weather


def goes_on_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse_nothing(*_: object) -> None:
        """As if nobody had been here."""

    monkeypatch.setattr(taking_up, "overtaker", lambda *_: None)
    monkeypatch.setattr(passes, "_refuse_overtaken", refuse_nothing)


@pytest.mark.parametrize(
    ("seed", "breaks", "law"),
    [
        (42000255, goes_on_all_the_same, "rivals: run2 goes on with a deploy"),
        (42004032, writes_without_leases, "rivals: run1 writes in another's turn"),
    ],
)
def test_who_breaks_a_law_beside_another_tool_is_caught(
    seed: int, breaks: Break, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather = draw(seed)
    breaks(monkeypatch)
    found = faults_of(weather, live_through(weather))
    assert any(each.startswith(law) for each in found), found
