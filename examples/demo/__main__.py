"""The feature's story, told with real processes: `scripts/demo`.

Every sentence with a tick was checked just before it was printed, by reading
the platform, the report of the run, the file or the requests. The first one
that is not true ends the demo with exit code 1.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.demo import images, outcomes, traffic
from examples.demo.stage import Broken, Stage, set_up

# With this seed at this rate the writes that set hello up are all carried out,
# and the deploy of v2 meets four failures: of the second machine's update the
# answer is lost, the third's is over the rate limit and then lost too, the
# fourth's is a 502. The first machine's updates always succeed, so that one
# pass ends in between whatever the timing.
HICCUPS = "0.1"
SEED = 1053388
MACHINES = 4
FLAG = "deploy-retries"
V1, V2, V3 = "hello:v1", "hello:v2", "hello:v3"
V2_COMMAND = f"deploy --image {V2} --flags flags.yaml"
V3_COMMAND = f"deploy --image {V3} --flags flags.yaml --wait-timeout 4s"


@dataclass(frozen=True)
class Act:
    """One deploy, for the table at the end."""

    name: str
    code: int
    report: Mapping[str, Any]
    machines: Counter[str]
    tally: traffic.Tally

    @property
    def summary(self) -> str:
        """For finding out why a claim does not hold."""
        facts = {key: self.report[key] for key in ("result", "message", "passes_used")}
        return f"exit code {self.code}, {facts}, {dict(self.machines)}"


def main() -> int:
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    began = time.monotonic()
    has_images = "--images" in sys.argv[1:]
    if has_images and (why := images.missing()):
        console.print(why)
        return 0
    try:
        if has_images:
            images.tell(console, hiccups=HICCUPS, seed=SEED, machines=MACHINES)
        else:
            with set_up(console) as stage:
                acts = tell(stage)
            show_table(console, acts)
    except Broken as problem:
        sys.stdout.flush()
        sys.stderr.write(f"demo: {problem}\n")
        return 1
    except BrokenPipeError:  # nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted; nothing is left running\n")
        return 130
    took_s = time.monotonic() - began
    console.print()
    console.print(f"All of it true, in {took_s:.0f} s. Nothing is left running.")
    return 0


def tell(stage: Stage) -> list[Act]:
    """The story, act by act."""
    stage.console.print(Text("One deploy, two paths, and the number between them", style="bold"))
    stage.say(f"A seed decides which writes the platform fails: {float(HICCUPS):.0%} of them, the")
    stage.say("same ones every time. Requests run through its router during every deploy.")
    with hello_on_v1(stage, "1. hello runs v1 on four machines"):
        legacy = in_between(stage)
    bump(stage)
    with hello_on_v1(stage, "4. The same platform, started afresh with the same seed"):
        retrying = wholly_new(stage)
        sick = rolled_back(stage)
    outcomes.tell(stage)
    return [legacy, retrying, sick]


@contextmanager
def hello_on_v1(stage: Stage, heading: str) -> Iterator[None]:
    stage.heading(heading)
    with stage.platform(f"--hiccups {HICCUPS} --seed {SEED}"):
        stage.must(f"deploy --image {V1} --flags flags.yaml")
        stage.must(f"deploy scale app={MACHINES} --flags flags.yaml")
        machines = stage.machines_by_image()
        stage.claim("4 machines run v1, all checks passing", machines == {V1: MACHINES}, machines)
        yield


def in_between(stage: Stage) -> Act:
    stage.heading("2. The rollout is at 5 %, hello is outside: v2 takes the legacy path")
    act = perform(stage, "v2 at 5 %", V2_COMMAND, "legacy")
    decision = act.report["decision"]
    outside = (decision["bucket"], decision["percent"], act.report["path"])
    is_outside = outside == (6343, 5, "legacy")
    stage.claim("hello is at 6.343 %, above 5 %: no retries", is_outside, outside)
    stopped = act.report["hiccups_met"] > 0 and act.report["passes_used"] == 1
    stage.claim("the first hiccups ended it, and nothing was retried", stopped, act.summary)
    stage.claim(f"it ended in between: {split(act)}, exit code 3", is_mixed(act), act.summary)
    stage.claim(
        "requests are answered by two releases now",
        {V1, V2} <= act.tally.by_image.keys(),
        act.tally.by_image,
    )
    unharmed(stage, act)
    return act


def bump(stage: Stage) -> None:
    stage.heading("3. The rollout goes to 10 %")
    path = stage.directory / "flags.yaml"
    before = path.read_text().splitlines()
    stage.show(stage.must(f"rollout set {FLAG} --percent 10 --file flags.yaml"))
    after = path.read_text().splitlines()
    changed = [
        line
        for line in difflib.unified_diff(before, after, n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    is_one_line = [line[0] for line in changed] == ["-", "+"]
    stage.claim("the bump is one line of flags.yaml", is_one_line, changed)
    stage.show(stage.must(f"rollout explain {FLAG} --unit hello --file flags.yaml"))


def wholly_new(stage: Stage) -> Act:
    stage.heading("5. The same deploy: hello is inside now, v2 takes the retrying path")
    act = perform(stage, "v2 at 10 %", V2_COMMAND, "retrying")
    decision = act.report["decision"]
    inside = (decision["bucket"], decision["percent"], act.report["path"])
    is_inside = inside == (6343, 10, "retrying")
    stage.claim("hello is at 6.343 %, below 10 %: up to 5 retries", is_inside, inside)
    met, used = act.report["hiccups_met"], act.report["retries_used"]
    stage.claim(
        f"it met {met} hiccups and recovered with {used} retries",
        act.report["hiccups_mended"] == met > 0 and 0 < used <= 5,
        act.summary,
    )
    arrived = (act.code, act.machines) == (0, {V2: MACHINES})
    stage.claim("it ended wholly on v2, exit code 0", arrived, act.summary)
    host, port = stage.router()
    answers = Counter(traffic.ask(host, port)[0] for _ in range(20))
    stage.claim("v2 answers, and nothing else", answers == {V2: 20}, answers)
    unharmed(stage, act)
    return act


def rolled_back(stage: Stage) -> Act:
    stage.heading("6. v3 is broken: its health checks fail, which no retry can fix")
    act = perform(stage, "v3, sick", V3_COMMAND, "sick")
    used = act.report["retries_used"]
    stage.claim("the app's own failure was not retried", used == 0, used)
    back = (act.code, act.report["result"], act.machines) == (1, "rolled-back", {V2: MACHINES})
    stage.claim("it was rolled back: wholly on v2 again, exit code 1", back, act.summary)
    stage.claim("no request ever reached v3", V3 not in act.tally.by_image, act.tally.by_image)
    unharmed(stage, act)
    return act


def perform(stage: Stage, name: str, command: str, report: str) -> Act:
    """One deploy under traffic, and how the platform says that the app stands after it."""
    with traffic.steady(*stage.router()) as tally:
        code, told = stage.deploy(command, report)
        machines = stage.machines_by_image()
    return Act(name=name, code=code, report=told, machines=machines, tally=tally)


def is_mixed(act: Act) -> bool:
    return act.code == 3 and act.machines[V1] > 0 < act.machines[V2]


def split(act: Act) -> str:
    return f"{act.machines[V1]} machines on v1 and {act.machines[V2]} on v2"


def unharmed(stage: Stage, act: Act) -> None:
    """Whatever happened to the deploy, nobody who used the app noticed."""
    tally = act.tally
    stage.claim(
        f"{tally.sent} requests were sent meanwhile, none failed",
        tally.sent > 0 == tally.failed,
        f"{tally.failed} of {tally.sent}: {tally.first_failure}",
    )


def show_table(console: Console, acts: list[Act]) -> None:
    """What the acts came to, from the reports, the platform and the requests."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for title in ("deploy", "path", "exit"):
        table.add_column(title, no_wrap=True)
    for title in ("retries", "hiccups", "on v1", "on v2", "on v3", "sent", "failed"):
        table.add_column(title, justify="right", no_wrap=True)
    for act in acts:
        met: int = act.report["hiccups_met"]
        counts = (act.report["retries_used"], met, *(act.machines[v] for v in (V1, V2, V3)))
        numbers = (*counts, act.tally.sent, act.tally.failed)
        row = (act.name, act.report["path"], str(act.code), *(str(n) for n in numbers))
        table.add_row(*row)
    console.print()
    console.print(table, soft_wrap=False)


def _interrupt() -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
