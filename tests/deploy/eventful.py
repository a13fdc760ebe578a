"""Runs to read, without an orchestrator: plausible ones from a seed, and any at all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import strategies as st

from deploy.events import (
    BackingOff,
    Event,
    FlagDecision,
    GoingBack,
    HiccupMet,
    LeasesTaken,
    MachineMoved,
    MachineStands,
    Noticed,
    PassFinished,
    PassStarted,
    PathChosen,
    Phase,
    Planned,
    Result,
    RunFinished,
    RunStarted,
)

Entry = tuple[float, Event]
EPOCH_S = 1_795_000_000.0
OLD, NEW = "registry.fly.io/hello:v1", "registry.fly.io/hello:v2"


@dataclass
class Story:
    """A rolling deploy, told second by second: `hiccups` per write, the first `broken` fail."""

    machines: int = 4
    retries: int = 5
    hiccups: float = 0.3
    broken: int = 0
    seed: int = 5
    window: int = 2
    app: str = "hello"
    run_id: str = "01jdeadbee"
    now_s: float = EPOCH_S
    entries: list[Entry] = field(default_factory=list)

    def tell(self) -> list[Entry]:
        chance = random.Random(self.seed)
        self._open()
        todo = list(range(self.machines))
        for number in range(1, self.retries + 2):
            self._emit(PassStarted(number=number, of=self.retries + 1), chance.uniform(0.1, 0.3))
            left = [i for i in self._in_window(todo) if not self._update(i, chance)]
            done = self.machines - len(left)
            why = "the platform hiccuped" if left else ""
            self._emit(PassFinished(number=number, done=done, left=len(left), reason=why))
            todo = left
            if not todo or self.broken:
                break
            if number <= self.retries:
                delay_s = chance.uniform(0.5, 1.5) * number
                self._emit(BackingOff(delay_s=delay_s, number=number), delay_s)
        if self.broken:
            self._go_back(chance)
        self._close(set(todo))
        return sorted(self.entries, key=lambda entry: entry[0])

    def _in_window(self, machines: list[int]) -> Iterator[int]:
        """The first machine alone, then as many lanes as the window is wide."""
        lanes = [self.now_s]
        for i in machines:
            lane = lanes.index(min(lanes))
            self.now_s = lanes[lane]
            yield i
            lanes[lane] = self.now_s
            if i == machines[0]:
                lanes *= self.window
        self.now_s = max(lanes)

    def _open(self) -> None:
        self._emit(
            RunStarted(
                command="deploy",
                app=self.app,
                deploy_id="01jdeploy7",
                run_id=self.run_id,
                image=NEW,
                strategy="rolling",
            ),
            0.05,
        )
        sentence = (
            f"deploy-retries: auto -> {self.retries} "
            f"(app {self.app} is at 6.343 %, rollout is at 10 %): retrying path"
        )
        decision = FlagDecision(
            source="flags.yaml",
            sentence=sentence,
            flag="deploy-retries",
            unit=self.app,
            value=self.retries,
            bucket=6343,
            percent=10.0,
            reason="SPLIT",
        )
        self._emit(
            PathChosen(path="retrying", retries=self.retries, sentence=sentence, decision=decision),
            0.3,
        )
        actions = tuple((self._id(i), "web", "update") for i in range(self.machines))
        self._emit(Planned(actions=actions, unchanged=1), 0.1)
        for i in range(self.machines):
            self._move(i, Phase.QUEUED)

    def _update(self, i: int, chance: random.Random) -> bool:
        self._move(i, Phase.UPDATING, pause_s=chance.uniform(0.3, 1.2))
        if chance.random() < self.hiccups:
            self._emit(
                HiccupMet(
                    operation="update",
                    machine_id=self._id(i),
                    message="503 machine is being migrated",
                    outcome_known=chance.random() < 0.5,
                    number=1,
                )
            )
            self._move(i, Phase.WAITING, "for the next pass")
            return False
        self._move(i, Phase.STARTING, pause_s=chance.uniform(0.5, 1.5))
        self._move(i, Phase.CHECKING, "0/1 passing", chance.uniform(0.2, 0.8))
        self._move(i, Phase.CHECKING, "1/1 passing", chance.uniform(0.5, 2.0))
        if i < self.broken:
            self._move(i, Phase.FAILED, "check http: 500 Internal Server Error", 0.1)
            return False
        self._move(i, Phase.DONE, pause_s=0.05)
        return True

    def _go_back(self, chance: random.Random) -> None:
        self._emit(GoingBack(reason="the app's check http fails on web-1"))
        self._emit(PassStarted(number=1, of=self.retries + 1, direction="back"))
        for i in self._in_window(list(range(self.machines))):
            self._move(i, Phase.UPDATING, pause_s=chance.uniform(0.3, 1.0))
            self._move(i, Phase.STARTING, pause_s=chance.uniform(0.3, 1.0))
            self._move(i, Phase.BACK, pause_s=0.1)
        self._emit(PassFinished(number=1, done=self.machines, left=0, direction="back"))

    def _close(self, old: set[int]) -> None:
        if self.broken:
            result, code, message = Result.FAILED, 1, "the check http fails; all is as before"
        elif old:
            result, code = Result.IN_BETWEEN, 3
            message = f"retries are spent, {len(old)} of {self.machines} machines run hello:v1"
        else:
            result, code, message = Result.DONE, 0, f"{self.app} runs hello:v2"
        self._emit(Noticed(message="2 leases ran out by themselves", hint="no action is needed"))
        self._emit(
            RunFinished(
                result=result,
                exit_code=code,
                message=message,
                machines=tuple(self._stands(i, i in old) for i in range(self.machines)),
            )
        )

    def _stands(self, i: int, is_old: bool) -> MachineStands:
        is_old = is_old or bool(self.broken)
        return MachineStands(
            machine_id=self._id(i),
            name=f"web-{i + 1}",
            group="web",
            region="ams",
            version=f"01JDEPLOYVERSION{i:010}",
            image=OLD if is_old else NEW,
            state="started",
            cordoned=False,
            checks="1/1",
            runs="old" if is_old else "new",
        )

    def _move(self, i: int, phase: Phase, detail: str = "", pause_s: float = 0.0) -> None:
        moved = MachineMoved(
            machine_id=self._id(i), name=f"web-{i + 1}", group="web", phase=phase, detail=detail
        )
        self._emit(moved, pause_s)

    def _id(self, i: int) -> str:
        return f"148e{i:010x}"

    def _emit(self, event: Event, pause_s: float = 0.0) -> None:
        self.entries.append((self.now_s, event))
        self.now_s += pause_s


# Names from a small pool, so that events meet; and any text, lone surrogates and escapes included.
_NASTY = st.sampled_from(["[red]x[/red]", "\x1b[31mred\x1b[0m", "a\r\nb", "::error::x", "\ud800"])
_TEXT = st.sampled_from(["", "web-1", "web-2", "148e01", "148e02"]) | _NASTY | st.text(max_size=20)
_SMALL = st.integers(-1, 9)
_RANDOM: dict[str, st.SearchStrategy[object]] = {
    "str": _TEXT,
    "int": _SMALL,
    "bool": st.booleans(),
    "float": st.floats(-10, 1e6),
}
_DECISION = st.none() | st.builds(
    FlagDecision,
    source=_TEXT,
    sentence=_TEXT,
    flag=_TEXT,
    unit=_TEXT,
    bucket=st.none() | _SMALL,
    percent=st.none() | st.floats(-10, 1e6),
    reason=_TEXT,
    value=st.none() | _SMALL,
    error=_TEXT,
)
_ACTIONS = st.lists(st.tuples(_TEXT, _TEXT, _TEXT), max_size=4).map(tuple)
_STANDS = st.builds(MachineStands)

any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        RunStarted,
        command=_TEXT,
        app=_TEXT,
        deploy_id=_TEXT,
        run_id=_TEXT,
        image=_TEXT,
        strategy=_TEXT,
    ),
    st.builds(PathChosen, path=_TEXT, retries=_SMALL, sentence=_TEXT, decision=_DECISION),
    st.builds(Planned, actions=_ACTIONS, unchanged=_SMALL),
    st.builds(
        PassStarted, number=_SMALL, of=_SMALL, direction=st.sampled_from(["forward", "back"])
    ),
    st.builds(
        MachineMoved,
        machine_id=_TEXT,
        name=_TEXT,
        group=_TEXT,
        phase=st.sampled_from(Phase),
        detail=_TEXT,
    ),
    st.builds(
        HiccupMet,
        operation=_TEXT,
        machine_id=_TEXT,
        message=_TEXT,
        outcome_known=st.booleans(),
        number=_SMALL,
        name=_TEXT,
    ),
    st.builds(PassFinished, number=_SMALL, done=_SMALL, left=_SMALL, reason=_TEXT),
    st.builds(BackingOff, delay_s=st.floats(-1, 1e6), number=_SMALL),
    st.builds(GoingBack, reason=_TEXT),
    st.builds(Noticed, message=_TEXT, hint=_TEXT),
    st.builds(LeasesTaken, taken=_SMALL, of=_SMALL),
    st.builds(
        RunFinished,
        result=st.sampled_from(Result),
        exit_code=st.integers(0, 130),
        message=_TEXT,
        hint=_TEXT,
        machines=st.lists(_STANDS, max_size=3).map(tuple),
        leftovers=st.lists(_TEXT, max_size=2).map(tuple),
    ),
)

# Times as a journal may hold them: near one another, going back, and far out of any calendar.
any_run: st.SearchStrategy[list[Entry]] = st.lists(
    st.tuples(st.floats(EPOCH_S, EPOCH_S + 100) | st.floats(-1e15, 1e15), any_event), max_size=25
)


def times(start_s: float = EPOCH_S, step_s: float = 1.0) -> Iterator[float]:
    """A clock that moves by `step_s` at every look."""
    while True:
        yield start_s
        start_s += step_s
