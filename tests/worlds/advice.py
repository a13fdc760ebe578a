"""The commands that a hint names, as a shell and the command line read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from deploy.cli import cli
from deploy.commands.deploy import deploy_app
from deploy.commands.history import history_of
from deploy.commands.order import Order
from deploy.commands.resume import resume_app
from deploy.commands.rollback import rollback_app
from deploy.commands.scale import scale_app
from deploy.commands.status import look_at
from deploy.commands.target import Target
from deploy.events import Emit

_ADVICE = re.compile(r"`(deploy [^`]+)`((?: (?:finishes|undoes|goes on with) it)?)")


@dataclass(frozen=True, slots=True)
class Advice:
    """A command that a run printed; `promise` is what it is to do, in the words of the hint."""

    command: str
    promise: str


def advice_of(hints: str) -> list[Advice]:
    """The commands of ours in these hints; one that names a value to fill in is none."""
    found = [Advice(command, promise.strip()) for command, promise in _ADVICE.findall(hints)]
    return [advice for advice in found if not re.search(r" [A-Z]{2,}|local up", advice.command)]


def parse(command: str) -> tuple[str, dict[str, Any]]:
    """(name, options) of a command as a shell and the command line read it."""
    words = shlex.split(command)[1:]
    context = click.Context(cli, info_name="deploy")
    name, found, rest = cli.resolve_command(context, words)
    assert found is not None
    assert name is not None
    return name, dict(found.make_context(name, rest, parent=context).params)


async def run_command(
    name: str, options: Mapping[str, Any], target: Target, order: Order, emit: Emit
) -> Any:
    """The command's own function; None of one that only looks."""
    match name:
        case "resume":
            return await resume_app(target, order, emit)
        case "rollback":
            return await rollback_app(target, order, options["to"], emit)
        case "run":
            return await deploy_app(target, order, emit)
        case "scale":
            group, count = options["group_count"]
            return await scale_app(target, order, group, count, emit)
        case "status":
            await look_at(target)
        case "history":
            await history_of(target)
        case _:
            raise AssertionError(f"no way to follow `deploy {name}`")
    return None
