from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.plan.configs import (
    created_config,
    mounts_fit,
    reissued_config,
    replacement_configs,
    restored_config,
    updated_config,
)
from deploy.plan.stamps import (
    DEPLOY,
    FROM,
    INTENT,
    ROLE,
    WAS,
    Role,
    Was,
    is_stamped,
    read_was,
    replacement_name,
)
from tests.worlds.fleets import (
    MOUNTS,
    NEW,
    NEW_ID,
    OLD_ID,
    group,
    machine,
    release,
    updated,
    with_metadata,
)


def test_the_way_back_is_written_once_and_kept_by_later_updates_of_the_same_deploy() -> None:
    once = updated(machine(version="v0", cordoned=True))
    assert once.metadata[FROM] == "v0"
    assert read_was(once.metadata[WAS]) == Was("started", cordoned=True, down=False, sick=False)
    twice = updated(replace(once, version="v5", state="stopped", cordoned=False))
    assert twice.metadata[FROM] == "v0"
    assert twice.metadata[WAS] == once.metadata[WAS]


def test_nulls_are_not_sent_back() -> None:
    config = updated_config(release(), group(), machine(), launch=True)
    assert None not in config.values()


def test_metrics_and_statics_go_where_fly_toml_names_them_no_more() -> None:
    """What nobody here knows stays, and so does a guest that was scaled by hand."""
    one = machine()
    theirs = {"metrics": {"port": 9091}, "statics": [{"guest_path": "/x"}], "guest": {"cpus": 4}}
    config = {**one.config, **theirs, "odd": 1}
    sent = updated_config(release(), group(), replace(one, config=config), launch=True)
    assert not {"metrics", "statics"} & sent.keys()
    assert (sent["guest"], sent["odd"]) == ({"cpus": 4}, 1)
    named = group(metrics={"port": 9092})
    sent = updated_config(release(named), named, replace(one, config=config), launch=True)
    assert sent["metrics"] == {"port": 9092}


def test_what_fly_toml_has_no_word_for_stays_within_a_key_that_is_ours() -> None:
    one, spec = machine(), group(init={"cmd": ["new"]}, restart={"policy": "no"})
    there = {
        "init": {"tty": True, "kernel_args": None, "cmd": ["old"], "exec": ["gone"]},
        "restart": {"policy": "spot-price", "max_retries": 3, "gpu_bid_price": 0.5},
    }
    config = {**one.config, **there}
    sent = updated_config(release(spec), spec, replace(one, config=config), launch=True)
    assert sent["init"] == {"tty": True, "cmd": ["new"]}
    assert sent["restart"] == {"gpu_bid_price": 0.5, "policy": "no"}


def test_a_mount_keeps_the_volume_that_the_machine_has() -> None:
    spec = group(services=[], mounts=MOUNTS)
    one = machine("m1", spec)
    mounted = replace(one, config={**one.config, "mounts": [{**MOUNTS[0], "volume": "vol_1"}]})
    config = updated_config(release(spec), spec, mounted, launch=True)
    assert config["mounts"] == [{**MOUNTS[0], "volume": "vol_1"}]


@pytest.mark.parametrize(
    ("wanted", "present", "fit"),
    [
        ([], [], True),
        (MOUNTS, MOUNTS, True),
        (MOUNTS, [], False),
        ([], MOUNTS, False),
        (MOUNTS, [{"name": "data", "path": "/other"}], False),
        (MOUNTS, [{"name": "other", "path": "/data"}], False),
        (MOUNTS, [{"path": "/data", "volume": "vol_1"}], True),
        (MOUNTS, [{"name": None, "path": "/data"}], True),
    ],
)
def test_mounts_fit_when_paths_and_known_names_agree(
    wanted: list[Any], present: list[Any], fit: bool
) -> None:
    one = replace(machine(), config={"mounts": present})
    assert mounts_fit(group(mounts=wanted), one) is fit


def test_the_next_deploy_keeps_the_role_for_the_dead_may_still_be_there() -> None:
    role = f"replaces m0 {OLD_ID}"
    green = machine("m1", name=f"web-m0-{OLD_ID[-6:]}")
    intent = json.dumps({"deploy": NEW_ID})
    green = with_metadata(green, **{ROLE: role, INTENT: intent})
    metadata = updated_config(release(), group(), green, launch=True)["metadata"]
    assert metadata[ROLE] == role
    assert metadata[INTENT] == intent
    copied = with_metadata(machine("m1", name="web-1"), **{ROLE: role})  # of another machine
    assert ROLE not in updated_config(release(), group(), copied, launch=True)["metadata"]


# -- the other configurations ------------------------------------------------------------


def test_the_intent_of_an_earlier_deploy_goes_with_its_release() -> None:
    """Another tool may have copied it, beside a release id of its own: it stayed for ever."""
    old = with_metadata(machine(), **{INTENT: json.dumps({"deploy": OLD_ID}), "team": "red"})
    metadata = updated_config(release(), group(), old, launch=True)["metadata"]
    assert INTENT not in metadata
    assert metadata["team"] == "red"


def test_a_created_machine_is_stamped_with_a_history_that_is_empty() -> None:
    config = created_config(release(), group(env={"A": "1"}))
    metadata = config["metadata"]
    assert (config["image"], config["env"]) == (NEW, {"A": "1"})
    assert (metadata[FROM], metadata[WAS], metadata[DEPLOY]) == ("", "", NEW_ID)
    assert metadata["fly_release_id"] == NEW_ID
    assert ROLE not in metadata
    bird = created_config(release(), group(), Role(NEW_ID))
    assert bird["metadata"][ROLE] == f"canary {NEW_ID}"


@pytest.mark.parametrize("launch", [True, False])
def test_a_replacement_is_made_as_the_old_one_and_counts_as_what_it_is_to_be(launch: bool) -> None:
    spec = group(mounts=MOUNTS)
    old = with_metadata(machine("m1", spec, state="failed"), team="red")
    old = replace(old, config={**old.config, "mounts": [{**MOUNTS[0], "volume": "vol_1"}]})
    role = Role(NEW_ID, "m1")
    name = replacement_name(old, NEW_ID)
    made, then = replacement_configs(release(spec), spec, old, name=name, role=role, launch=launch)
    assert made["image"] == old.image
    assert made["mounts"] == MOUNTS  # a volume of its own
    assert then["image"] == NEW
    for config in (made, then):
        assert config["metadata"]["team"] == "red"
        assert config["metadata"][ROLE] == str(role)
    assert then["metadata"][WAS] == ("started" if launch else "stopped")


def test_a_stand_in_is_never_made_without_an_image() -> None:
    spec, old = group(), machine()
    told = {key: value for key, value in old.config.items() if key != "image"}
    name, role = replacement_name(old, NEW_ID), Role(NEW_ID, "m1")
    lost = replace(old, config=told, incomplete=True)
    made, _ = replacement_configs(release(spec), spec, lost, name=name, role=role, launch=True)
    assert made["image"] == NEW


def test_a_configuration_that_is_sent_back_carries_the_intent_of_now_and_no_stamp_of_ours() -> None:
    old = with_metadata(machine(), team="red", **{INTENT: "then", DEPLOY: OLD_ID})
    config = restored_config(old.config, "now", NEW_ID)
    assert config["metadata"][INTENT] == "now"
    assert config["metadata"][DEPLOY] == OLD_ID  # another's is kept
    assert INTENT not in restored_config(old.config, None, NEW_ID)["metadata"]


def test_an_earlier_configuration_becomes_a_release_of_now() -> None:
    earlier = {**machine().config, "metadata": {"team": "blue", ROLE: "canary x", INTENT: "then"}}
    one = with_metadata(machine(version="v5"), **{INTENT: "now"})
    config = reissued_config(release(number=7), one, earlier, was_before="stopped,cordoned")
    metadata = config["metadata"]
    assert (metadata["team"], metadata[INTENT]) == ("blue", "now")
    assert (metadata[FROM], metadata[WAS]) == ("v5", "stopped,cordoned")
    assert metadata["fly_release_version"] == "7"
    assert ROLE not in metadata
    assert is_stamped(replace(one, config=config), NEW_ID)
