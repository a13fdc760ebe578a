from __future__ import annotations

from deploy.local.identity import Identity


def test_with_a_seed_ids_depend_on_the_slot_and_not_on_the_order() -> None:
    one, two = Identity(7, lambda: 1.0), Identity(7, lambda: 2.0)
    slots = ["app/1", "app/2", "app/1"]
    forward = [one.machine_id("hello", slot) for slot in slots]
    two.machine_id("hello", "app/2")
    assert two.machine_id("hello", "app/1") == forward[0]
    assert two.machine_id("hello", "app/1") == forward[2]
    assert len(set(forward)) == 3
    assert all(len(machine_id) == 14 for machine_id in forward)


def test_without_a_seed_nothing_repeats() -> None:
    minted = [Identity(None, lambda: 1.0).machine_id("hello", "app/1") for _ in range(50)]
    assert len(set(minted)) == 50


def test_versions_sort_by_time() -> None:
    now = 1_800_000_000.0
    identity = Identity(None, lambda: now)
    first = identity.ulid()
    now += 0.001
    assert first < identity.ulid()
    assert len(first) == 26
