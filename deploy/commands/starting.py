"""Starting a run: the platform, the path, and what is left to do."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from deploy.api.client import connect
from deploy.commands.order import Order, terms_of
from deploy.commands.origin import origin
from deploy.commands.reading import first_look
from deploy.commands.target import Target
from deploy.events import Emit, Noticed, PathChosen, RunFinished, RunStarted
from deploy.hints import Invocation
from deploy.orchestrator.release_command import ReleaseCommand
from deploy.retries import Retries, as_assigned, asked_for, from_flag, refuse_missing
from deploy.run import App, Task, run

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no look-alikes


def new_id(now: datetime) -> str:
    """An id that sorts by time: 9 characters of it and 7 of chance."""
    number = int(now.timestamp() * 1000)
    stamp = "".join(_ALPHABET[number >> shift & 31] for shift in range(40, -1, -5))
    return stamp + "".join(secrets.choice(_ALPHABET) for _ in range(7))


async def start_run(
    command: str, target: Target, order: Order, task: Task, emit: Emit, now: datetime
) -> RunFinished:
    """One run from its first event to its last: the platform, the path, the passes."""
    release = task.release
    called = Invocation(
        app=target.app,
        directory=target.directory,
        config=target.config_path,
        env=tuple(f"{key}={value}" for key, value in order.env.items()),
        finish=release.finish,
        terms=terms_of(order),
    )
    if order.flags_by_option and order.retries is None:
        refuse_missing(order.flags)
    run_id = new_id(datetime.now(UTC))
    said = target.config.deploy.wait_timeout_s if target.config else None
    wait_s = order.wait_timeout_s or said or order.settings.wait_timeout_s
    settings = replace(
        order.settings,
        wait_timeout_s=wait_s,
        release_command=_release_command(target, order, command),
    )
    of = origin(os.environ)
    emit(
        RunStarted(
            command=command,
            app=target.app,
            deploy_id=release.deploy_id,
            run_id=run_id,
            image=release.image,
            strategy=release.strategy,
            user=of.user,
            commit=of.commit,
        )
    )
    async with connect(target.address, target.token, target.app) as client:
        exists, organization, machines = await first_look(client)
        context = context_of(target.app, organization) | {"deploy": release.deploy_id}
        retries = _retries_of(order, context, now)
        emit(
            PathChosen(
                path=retries.path,
                retries=retries.count,
                sentence=retries.sentence,
                decision=retries.decision,
                assigned=retries.assigned,
            )
        )
        if retries.warning:
            emit(Noticed(message=retries.warning, hint=retries.warning_hint))
        return await run(
            client,
            task,
            retries,
            settings,
            run_id=run_id,
            chance=random.Random(),  # noqa: S311 - jitter, not secrets
            emit=emit,
            app=App(
                exists=exists,
                machines=machines,
                organization=target.organization,
                called=replace(called, retries=retries.count),
            ),
        )


def context_of(app: str, organization: str) -> dict[str, str]:
    """What a flag can be bucketed by, before there is a deploy."""
    return {"app": app} | ({"org": organization} if organization else {})


def _retries_of(order: Order, context: Mapping[str, str], now: datetime) -> Retries:
    flag = from_flag(order.flags, context=context, now=now)
    return flag if order.retries is None else as_assigned(asked_for(order.retries), flag)


def _release_command(target: Target, order: Order, command: str) -> ReleaseCommand | None:
    said = target.config.deploy if target.config else None
    asked = order.runs_release_command and command in ("deploy", "resume")
    if said is None or not said.release_command or not asked:
        return None
    return ReleaseCommand(
        command=said.release_command,
        timeout_s=said.release_command_timeout_s or 300.0,
        guest=said.release_command_guest,
    )
