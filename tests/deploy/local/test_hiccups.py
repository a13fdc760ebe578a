"""Hiccups: repeatable, and as harmful over the API as they say they are."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.hiccups import Hiccups, Strike
from deploy.local.refusals import Refusal
from tests.deploy.local.world import config, world

NAMES = st.sampled_from(["create", "update", "start", "stop", "lease", "refresh", "cordon"])
WRITES = st.lists(st.tuples(st.sampled_from(["app/1", "app/2"]), NAMES), max_size=30)


@given(st.integers(), st.floats(0, 1), WRITES, st.randoms())
def test_the_order_of_writes_to_different_slots_changes_nothing(
    seed: int, rate: float, writes: list[tuple[str, str]], chance: Any
) -> None:
    shuffled = list(writes)
    chance.shuffle(shuffled)

    def run(order: list[tuple[str, str]]) -> dict[tuple[str, str], list[Strike | None]]:
        hiccups = Hiccups(rate=rate, seed=seed)
        met: dict[tuple[str, str], list[Strike | None]] = {}
        for slot, operation in order:
            met.setdefault((slot, operation), []).append(hiccups.next("hello", slot, operation))
        return met

    assert run(writes) == run(shuffled)


@given(st.integers(), st.integers(0, 50))
def test_refreshes_do_not_shift_anything_else(seed: int, refreshes: int) -> None:
    plain, busy = Hiccups(rate=0.5, seed=seed), Hiccups(rate=0.5, seed=seed)
    for _ in range(refreshes):
        busy.next("hello", "app/1", "refresh")
    for operation in ("update", "lease", "release"):
        assert plain.next("hello", "app/1", operation) == busy.next("hello", "app/1", operation)


def test_the_rate_is_the_share_of_writes_that_are_struck() -> None:
    for rate in (0.0, 0.1, 0.5, 1.0):
        hiccups = Hiccups(rate=rate, seed=1)
        struck = sum(hiccups.next("a", str(n), "update") is not None for n in range(2000))
        assert struck == pytest.approx(2000 * rate, abs=70)
        assert hiccups.met.total() == struck


def test_every_kind_of_failure_happens() -> None:
    said: list[str] = []
    hiccups = Hiccups(rate=1.0, seed=1, say=said.append)
    operations = ("create", "update", "start")
    kinds = {hiccups.next("a", str(n), op).kind for n in range(300) for op in operations}  # type: ignore[union-attr]  # the rate is 1
    assert kinds == {
        "reset before the write",
        "reply lost",
        *(f"{status} before the write" for status in (408, 500, 502, 503, 504)),
        *(f"{status} after the write" for status in (408, 500, 502, 503, 504)),
        "429",
        "429 with Retry-After",
        "409 replacing",
        "412 refusing to start",
        "412 from created",
        "created but not seen yet",
    }
    assert len(said) == 900
    assert said[0].startswith("hiccup: a, create of 0: ")


class Scripted(Hiccups):
    """Strikes as told, in order, then never again."""

    def __init__(self, *strikes: Strike | None) -> None:
        super().__init__(rate=0, seed=0)
        self._strikes = list(strikes)
        self.seen: list[tuple[str, str, str]] = []

    def next(self, app: str, slot: str, operation: str) -> Strike | None:
        self.seen.append((app, slot, operation))
        return self._strikes.pop(0) if self._strikes else None


@pytest.mark.anyio
@pytest.mark.parametrize("applied", [False, True])
async def test_a_struck_write_is_carried_out_only_if_the_strike_says_so(applied: bool) -> None:
    strike = Strike("503", Refusal(503, "unavailable"), applied=applied)
    async with world(hiccups=Scripted(strike)) as w:
        answer = await w.call("POST", "", json={"name": "one", "config": config()})
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
        made = (await w.call("GET", "")).json() if applied else []
        assert [machine["name"] for machine in made] == (["one"] if applied else [])
        assert ("hello" in w.platform.apps) is applied


@pytest.mark.anyio
@pytest.mark.parametrize("applied", [False, True])
async def test_a_lost_reply_breaks_the_connection(applied: bool) -> None:
    strike = Strike("lost", applied=applied)
    async with world(hiccups=Scripted(None, strike)) as w:
        machine = await w.create(skip_launch=True)
        with pytest.raises(ConnectionResetError):
            await w.call("POST", f"/{machine['id']}/cordon")
        assert (await w.get(machine["id"]))["cordoned"] is applied


@pytest.mark.anyio
async def test_retry_after_is_a_header() -> None:
    strike = Strike("429", Refusal(429, "rate limit exceeded", retry_after_s=1))
    async with world(hiccups=Scripted(strike)) as w:
        answer = await w.call("POST", "", json={"config": config()})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


@pytest.mark.anyio
async def test_a_new_machine_may_be_unseen_for_a_moment() -> None:
    strike = Strike("unseen", applied=True, hidden_s=0.1)
    async with world(hiccups=Scripted(strike)) as w:
        created = await w.launch(name="one", config=config())
        assert (await w.call("GET", f"/{created['id']}")).status_code == 404
        assert (await w.call("GET", "")).json() == []
        taken = await w.call("POST", "", json={"name": "one", "config": config()})
        assert created["id"] in taken.json()["error"]
        await w.until(created["id"], lambda machine: machine.get("state") == "started")


@pytest.mark.anyio
async def test_writes_are_known_by_slot_and_operation_and_reads_are_not_counted() -> None:
    hiccups = Scripted()
    async with world(hiccups=hiccups) as w:
        machine = await w.create(name="app-1")
        await w.call("GET", "")
        await w.call("GET", f"/{machine['id']}/wait?state=started")
        lease = (await w.call("POST", f"/{machine['id']}/lease")).json()["data"]
        nonce = {"fly-machine-lease-nonce": lease["nonce"]}
        await w.call("POST", f"/{machine['id']}/lease", headers=nonce)
        await w.call("POST", f"/{machine['id']}", json={"config": config()}, headers=nonce)
        await w.call("POST", "/none/start")
    slot = "app/app-1"
    assert hiccups.seen == [
        ("hello", slot, "create"),
        ("hello", slot, "lease"),
        ("hello", slot, "refresh"),
        ("hello", slot, "update"),
    ]


@pytest.mark.anyio
async def test_the_same_seed_strikes_the_same_writes_of_the_same_run() -> None:
    async def run() -> list[Any]:
        outcome: list[Any] = []
        async with world(hiccups=Hiccups(rate=0.4, seed=5)) as w:
            for number in range(40):
                body = {"name": f"app-{number}", "config": config(), "skip_launch": True}
                try:
                    answer: httpx.Response = await w.call("POST", "", json=body)
                    outcome.append((answer.status_code, answer.json().get("id")))
                except ConnectionResetError:
                    outcome.append("lost")
            outcome.append(w.platform.hiccups.met if w.platform.hiccups else None)
        return outcome

    first = await run()
    assert first == await run()
    assert "lost" in first
