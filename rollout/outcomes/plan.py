"""What to expect of a guard, before the first stage and at any other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

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


def _rows(guard: Guard, rate: float) -> Iterator[list[str]]:
    yield [
        "AT",
        "NEXT STAGE, NO EFFECT",
        *(f"KILL, r = {ratio:g}" for ratio in _RATIOS),
    ]
    for stage, after in zip(guard.stages, (*guard.stages[1:], None), strict=True):
        kills = (_needed(guard, stage, ratio, rate) for ratio in _RATIOS)
        advance = "-" if after is None else _to(guard, stage, after, rate)
        yield [f"{percent_text(stage)} %", advance, *kills]


def _to(guard: Guard, stage: int, after: int, rate: float) -> str:
    mixture, bar = affordable(after, guard.budget), log(guard.advance)
    half = coins_needed(mixture, bar, stage, power=0.5)
    return _cell(half, coins_needed(mixture, bar, stage), rate)


def _needed(guard: Guard, stage: int, ratio: float, rate: float) -> str:
    if stage >= EVERYBODY:
        return "-"
    bar = log(guard.kill)
    half = coins_needed(HARM, bar, stage, ratio=ratio, power=0.5)
    return _cell(half, coins_needed(HARM, bar, stage, ratio=ratio), rate)


def _cell(half: int | None, sure: int | None, rate: float) -> str:
    many = f"{half:,}" if half is not None else "> 5,000"
    most = f"{sure:,}" if sure is not None else "> 5,000"
    days = f" ({half / rate:.1f} d)" if rate and half is not None else ""
    return f"{many} to {most}{days}"
