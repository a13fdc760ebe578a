"""What to expect of a guard, before the first stage and at any other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Any, NamedTuple

from rollout.flag import EVERYBODY, Flag, percent_text
from rollout.flag.guard import HOLDBACK_DAYS, Guard
from rollout.outcomes.account import Account
from rollout.outcomes.evidence import HARM, affordable
from rollout.outcomes.power import coins_needed
from rollout.outcomes.verdict import coins_a_day
from rollout.wording import table

_RATIOS = (1.5, 2.0, 3.0)


def plan_lines(flag: Flag, guard: Guard, account: Account | None) -> Iterator[str]:
    """The stages, and how many failures each takes; days, where there are records of a rate."""
    rate = coins_a_day(account.ledger) if account else 0.0
    words = guard.words
    yield (
        f"{flag.key}: {words['stages']} %, each for {words['bake']} at least; "
        f"a failure is a deploy that is {guard.event.words}"
    )
    yield (
        f"killed at evidence of {words['kill']} to 1, which takes chance at most "
        f"{100 / guard.kill:.2g} % of the time over the whole ramp"
    )
    yield (
        f"advanced at {words['advance']} to 1 that all failures together rise by less than "
        f"{100 * guard.budget:g} %; {HOLDBACK_DAYS} d at the last stage"
    )
    yield ""
    per_day = f", at {rate:.1f} coins a day" if rate else ""
    yield f"coins (counted failures) for half of the ramps, and for 95 % of them{per_day}:"
    yield from table(list(_rows(guard, rate)))
    yield ""
    if flag.bucket_by == "deploy":
        yield "every deploy is drawn: every failure is a coin, and r is the ratio of failure rates"
    else:
        yield (
            f"each {flag.bucket_by} is one coin at a percentage, however often it fails, and r is "
            "the odds ratio of first failures; bucket_by: deploy learns faster"
        )


def plan_json(flag: Flag, guard: Guard, account: Account | None) -> dict[str, Any]:
    """The same for programs; a number of coins is null beyond 5,000."""
    return {
        "version": 1,
        "flag": flag.key,
        "bucket_by": flag.bucket_by,
        "guard": guard.words,
        "coins_a_day": (coins_a_day(account.ledger) if account else 0.0) or None,
        "stages": [
            {
                "percent": stage.threshold / 1000,
                "advance": stage.advance and stage.advance._asdict(),
                "kill": {
                    f"{ratio:g}": needed and needed._asdict()
                    for ratio, needed in zip(_RATIOS, stage.kills, strict=True)
                },
            }
            for stage in _stages(guard)
        ],
    }


class _Needed(NamedTuple):
    """How many coins are enough for half of all ramps, and for 95 %; None for too many to say."""

    half: int | None
    sure: int | None


class _Stage(NamedTuple):
    """What it takes to the next one, None at the last; and to be killed, for each ratio."""

    threshold: int
    advance: _Needed | None
    kills: tuple[_Needed | None, ...]


def _stages(guard: Guard) -> Iterator[_Stage]:
    for stage, after in zip(guard.stages, (*guard.stages[1:], None), strict=True):
        advance = None if after is None else _to(guard, stage, after)
        yield _Stage(stage, advance, tuple(_to_kill(guard, stage, ratio) for ratio in _RATIOS))


def _to(guard: Guard, stage: int, after: int) -> _Needed:
    mixture, bar = affordable(after, guard.budget), log(guard.advance)
    half = coins_needed(mixture, bar, stage, power=0.5)
    return _Needed(half, coins_needed(mixture, bar, stage))


def _to_kill(guard: Guard, stage: int, ratio: float) -> _Needed | None:
    if stage >= EVERYBODY:
        return None
    bar = log(guard.kill)
    half = coins_needed(HARM, bar, stage, ratio=ratio, power=0.5)
    return _Needed(half, coins_needed(HARM, bar, stage, ratio=ratio))


def _rows(guard: Guard, rate: float) -> Iterator[list[str]]:
    yield [
        "AT",
        "NEXT STAGE, NO EFFECT",
        *(f"KILL, r = {ratio:g}" for ratio in _RATIOS),
    ]
    for stage in _stages(guard):
        cells = (_cell(needed, rate) for needed in (stage.advance, *stage.kills))
        yield [f"{percent_text(stage.threshold)} %", *cells]


def _cell(needed: _Needed | None, rate: float) -> str:
    if needed is None:
        return "-"
    half, sure = needed
    many = f"{half:,}" if half is not None else "> 5,000"
    most = f"{sure:,}" if sure is not None else "> 5,000"
    days = f" ({half / rate:.1f} d)" if rate and half is not None else ""
    return f"{many} to {most}{days}"
