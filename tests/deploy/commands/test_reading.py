"""What is read before a run: the app and its machines, side by side."""

from __future__ import annotations

import pytest

from deploy.commands.reading import first_look
from tests.deploy.orchestrator.bench import Bench, on_bench
from tests.worlds.simulated.faults import BY_NAME
from tests.worlds.stage import Hit


def test_the_app_and_its_machines_are_asked_for_at_once() -> None:
    async def story(bench: Bench) -> None:
        exists, organization, machines = await first_look(bench.tools.client)
        app, listed = bench.calls("read app"), bench.calls("list")
        assert exists
        assert organization
        assert {machine.id for machine in machines or ()} == {*(await bench.fleet()).by_id}
        assert app[0].sent_s == listed[0].sent_s

    on_bench(story)


@pytest.mark.parametrize(
    ("operation", "told"), [("list", (True, False)), ("read app", (True, True))]
)
def test_what_cannot_be_read_now_is_left_to_the_run(
    operation: str, told: tuple[bool, bool]
) -> None:
    async def story(bench: Bench) -> None:
        exists, _, machines = await first_look(bench.tools.client)
        assert (exists, machines is not None) == told

    on_bench(story, hits=[Hit(operation, BY_NAME["503 before"])])
