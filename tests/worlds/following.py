"""Law 14: what a run advises is done, literally, and has to come true.

The commands between backticks are read with the real command line, and run against
the stage where they were printed.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.api.machine import Machine
from deploy.commands.order import order_of
from deploy.commands.target import find_target
from deploy.events import RunStarted
from tests.worlds.advice import Advice, parse, run_command
from tests.worlds.simulated.world import ADDRESS, APP

if TYPE_CHECKING:
    from tests.worlds.stage import Stage, Told

_OTHER_APP = "app = 'production'\n[processes]\n  web = 'another'\n"


async def follow(stage: Stage, told: Told, advice: Advice) -> None:
    """Do it at once, from a directory that has this app's fly.toml where the run had it."""
    name, options = parse(advice.command)
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        _write_config(told)
        target = find_target(
            options.pop("directory", Path()),
            app=options.pop("app", None) or APP,
            config_path=options.pop("config_path", None),
            environ={"FLY_FLAPS_BASE_URL": ADDRESS},
            needs_config=name in ("run", "resume"),
        )
    order = order_of(options)
    order = replace(
        order,
        wait_timeout_s=order.wait_timeout_s or 60.0,
        settings=replace(order.settings, handles_signals=False),
    )
    meant = _last_begun(stage, told)
    begun = dict(meant.begun)
    done = await stage.run(partial(run_command, name, options), target, order)
    where = f"{advice.command} ({advice.promise}), after {told.hints!r}"
    code = done.finished.exit_code if done.finished else 0  # None: there was nothing to do
    assert (code, done.error) == (0, None), f"{where}: {done.finished}"
    _assert_came_true(stage, meant, advice, begun, where)


def _last_begun(stage: Stage, told: Told) -> Told:
    """Who was refused before it began advises about the run before it."""
    until = stage.runs[: stage.runs.index(told) + 1]
    return next((each for each in reversed(until) if each.said(RunStarted)), told)


def _write_config(told: Told) -> None:
    """Beside a file of another name stands another app's: nobody may read that one."""
    named = told.target.config_path if told.target else ""
    Path("fly.toml").write_text(_OTHER_APP if named else told.toml)
    if named:
        Path(named).write_text(told.toml)


def _assert_came_true(
    stage: Stage, told: Told, advice: Advice, begun: Mapping[str, str], where: str
) -> None:
    if not advice.promise:
        return
    assert stage.marks == [], where
    if advice.promise.startswith("finishes"):
        _assert_finished(stage, told, begun, where)
    else:
        now = {name: machine.image for name, machine in stage.fleet.items()}
        assert sorted(now.values()) == sorted(begun.values()), where


def _assert_finished(stage: Stage, told: Told, begun: Mapping[str, str], where: str) -> None:
    """What was asked for has come about, and no more than that."""
    (started,) = told.said(RunStarted)
    selection = told.order.settings.selection
    known = told.target.config.groups if told.target and told.target.config else ()
    kept = {m.group for m in stage.fleet.values()} if told.order.update_only else set()
    kept -= {group.name for group in known}
    for name, machine in stage.fleet.items():
        seen = Machine(id=machine.id, state=machine.state, name=name, config=machine.config)
        is_meant = selection.takes(seen) and machine.group not in kept
        assert machine.image == (started.image if is_meant else begun[name]), f"{name}: {where}"
        is_new = machine.config["metadata"]["fly_release_id"] == started.deploy_id
        assert is_new or not (is_meant and told.order.force), f"{name}: {where}"
    groups = Counter(machine.group for machine in stage.fleet.values())
    assert all(groups[group] == count for group, count in told.counts.items()), where
