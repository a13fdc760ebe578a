"""A platform that lies: the local one, with some of its answers replaced or bent.

Every command runs as the program runs it, readers included, on a clock that
passes only when nobody has anything to do. Only the network is made up.
"""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy import cli
from deploy.commands import deploy, history, plan, resume, rollback, scale, status
from deploy.commands.order import Order
from deploy.commands.target import Target
from deploy.errors import DeployError, each_of
from deploy.events import Emit, Event, RunFinished, emitter
from deploy.flytoml.appconfig import parse
from deploy.plan.configs import created_config
from deploy.plan.intent import Intent
from deploy.plan.release import Release
from deploy.plan.stamps import FROM, INTENT, WAS, slot_name
from deploy.readers.journal import Journal
from deploy.readers.progress import open_progress
from deploy.readers.report import Report
from deploy.run import Settings
from tests.deploy.local.world import World, world
from tests.worlds.simulated.clockwork import run_in_time

ADDRESS = "http://127.0.0.1:4280"

V1, V2 = "registry.test/hello:ok-1", "registry.test/hello:ok-2"
TOKEN = "FlyV1 fm2_lJPECAAAAAAAplanted0secret0in0plain0sight0"  # noqa: S105 - it opens nothing
LONGEST_S = 2 * 3600.0  # of simulated time
MOST_REQUESTS = 20_000

FLY_TOML = """
app = "hello"
[processes]
  app = "serve"
[http_service]
  internal_port = 8080
  processes = ["app"]
  [[http_service.checks]]
    path = "/health"
    interval = "2s"
"""


@dataclass(frozen=True)
class Answer:
    """An answer as it goes over the wire: `body` is what `headers` say of it, decoded or not."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


Bend = Callable[[Answer], Answer]


@dataclass(frozen=True)
class Lie:
    """From the n-th request on, `times` requests of its sort get an answer that `bend` makes."""

    nth: int
    bend: Bend
    times: int = 1
    what: str = ""

    def __repr__(self) -> str:
        return f"Lie(nth={self.nth}, times={self.times}, {self.what})"


@dataclass
class Liar(httpx.AsyncBaseTransport):
    """Asks the honest platform, and tells what the lies make of its answer."""

    honest: httpx.AsyncBaseTransport
    lies: tuple[Lie, ...]
    asked: int = 0
    begun: dict[Lie, str] = field(default_factory=dict)
    told: dict[Lie, int] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        assert self.asked < MOST_REQUESTS, "it asks and asks"
        sort = _sort(request)
        for lie in self.lies:
            if lie.nth == self.asked:
                self.begun[lie] = sort
        real = await self.honest.handle_async_request(request)
        answer = Answer(real.status_code, tuple(real.headers.raw), await real.aread())
        for lie in self.lies:
            if self.begun.get(lie) == sort and self.told.get(lie, 0) < lie.times:
                self.told[lie] = self.told.get(lie, 0) + 1
                answer = lie.bend(answer)
        headers = [each for each in answer.headers if each[0] != b"content-length"]
        stream = httpx.ByteStream(answer.body)
        return httpx.Response(answer.status, headers=headers, stream=stream)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its result or what it raised, and all that it said."""

    result: Any
    error: BaseException | None
    said: str

    @property
    def is_ours(self) -> bool:
        """Whether it is a result, or an error that the program renders as its own."""
        return self.error is None or _is_ours(self.error)


def live_through(
    command: str,
    directory: Path,
    lies: Sequence[Lie] = (),
    *,
    strategy: str = "rolling",
    retries: int = 1,
    token: str = TOKEN,
) -> Outcome:
    """Run a command of `COMMANDS` against the liar until it ends, with every reader listening."""
    order = Order(
        image=V2,
        strategy=strategy,
        retries=retries,
        settings=Settings(wait_timeout_s=20.0, smoke_s=1.0, handles_signals=False),
    )
    target = Target(app="hello", config=parse(FLY_TOML), address=ADDRESS, token=token)

    async def main() -> Outcome:
        async with world() as honest:
            await _settle(honest, command)
            liar = Liar(honest.client._transport, tuple(lies))
            with _the_network_is(liar):
                return await _ends(partial(COMMANDS[command], target, order), directory)

    return run_in_time(main, seed=1, longest_s=LONGEST_S)


async def _ends(command: Callable[[Emit], Awaitable[Any]], directory: Path) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    told: list[tuple[float, Event]] = []
    progress = open_progress("text", out, err, {}, time.time)
    lines = open_progress("json", out, err, {}, time.time)
    journal = Journal(directory, lambda words: print(words, file=err))
    with progress, lines, journal:
        emit = emitter(time.time, progress, lines, journal, lambda at, e: told.append((at, e)))
        try:
            result = await command(emit)
        except Exception as error:
            with redirect_stderr(err):
                for each in each_of(error):
                    cli._render(each)
            return Outcome(None, error, out.getvalue() + err.getvalue())
    if isinstance(result, RunFinished):
        out.write(Report.of(told).to_line())
    return Outcome(result, None, out.getvalue() + err.getvalue())


# -- the commands, as `deploy.cli` calls them ------------------------------------------


async def _deploy(target: Target, order: Order, emit: Emit) -> Any:
    return await deploy.deploy_app(target, order, emit)


async def _plan(target: Target, order: Order, _emit: Emit) -> Any:
    planned = await plan.plan_app(target, order)
    return plan.show_plan(*planned, as_json=False) + plan.show_plan(*planned, as_json=True)


async def _status(target: Target, _order: Order, _emit: Emit) -> Any:
    machines, routes, holders = await status.look_at(target)
    shown = [
        status.show_status(target, machines, routes, holders=holders, as_json=as_json)
        for as_json in (False, True)
    ]
    return "".join(shown)


async def _scale(target: Target, order: Order, emit: Emit) -> Any:
    return await scale.scale_app(target, order, "app", 3, emit)


async def _resume(target: Target, order: Order, emit: Emit) -> Any:
    return await resume.resume_app(target, order, emit)


async def _rollback(target: Target, order: Order, emit: Emit) -> Any:
    return await rollback.rollback_app(target, order, None, emit)


async def _history(target: Target, _order: Order, _emit: Emit) -> Any:
    releases = await history.history_of(target)
    return history.show_history("hello", releases, as_json=False)


COMMANDS: Mapping[str, Callable[[Target, Order, Emit], Awaitable[Any]]] = {
    "deploy": _deploy,
    "first deploy": _deploy,
    "plan": _plan,
    "status": _status,
    "scale": _scale,
    "resume": _resume,
    "rollback": _rollback,
    "history": _history,
}


async def _settle(honest: World, command: str) -> None:
    """What stands there before the command: two machines on V1, of an unfinished deploy if need be.

    The deploy that is to be resumed or undone had written one machine when it died.
    """
    if command == "first deploy":
        return
    honest.platform.create_app("hello")
    groups = parse(FLY_TOML).groups
    old = Release(app="hello", deploy_id="0" * 16, image=V1, groups=groups)
    new = Release(app="hello", deploy_id="1" * 16, image=V2, groups=groups)
    for number in (1, 2):
        name = slot_name("app", number)
        machine = await honest.create(name=name, config=created_config(old, groups[0]))
        if command in ("resume", "rollback") and number == 1:
            config = created_config(new, groups[0])
            stamps = {FROM: machine["version"], WAS: "started", INTENT: Intent.of(new).dump()}
            config["metadata"] |= stamps
            await honest.call("POST", f"/{machine['id']}", json={"config": config})
            await honest.reach(machine["id"], "started")


@contextmanager
def _the_network_is(liar: Liar) -> Iterator[None]:
    """Every connection that httpx makes leads to the liar; the program is as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "AsyncHTTPTransport", lambda **_: liar)
        yield


def _sort(request: httpx.Request) -> str:
    """Requests of one sort differ in the machine only."""
    parts = request.url.path.split("/")
    named = len(parts) > 5 and parts[4] == "machines"
    return f"{request.method} {'/'.join([*parts[:5], '*', *parts[6:]] if named else parts)}"


def _is_ours(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_ours(each) for each in error.exceptions)
    return isinstance(error, DeployError)
