"""Evidence, the flag and the time -> kill, advance or hold, and why. Pure.

Kill comes first: to stop is always safe. What says that the records cannot be trusted
only keeps the percentage from rising.
"""

from __future__ import annotations

from math import log
from typing import Final, Literal, NamedTuple

from rollout.flag import Flag, percent_text
from rollout.flag.guard import HOLDBACK_DAYS
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.power import coins_needed

DAY_S: Final = 86_400.0
SAMPLE_RATIO: Final = 1000.0
CONTROL: Final = 20.0
_RECENT_DAYS: Final = 7

Kind = Literal["hold", "advance", "kill"]
EXIT_CODES: Final[dict[Kind, int]] = {"hold": 0, "advance": 10, "kill": 20}


class Verdict(NamedTuple):
    """What to do; `to` is the threshold to advance to, `missing` what keeps it from that.

    `finished`: the flag has done its work, and can be removed.
    """

    kind: Kind
    sentence: str
    to: int | None = None
    missing: tuple[str, ...] = ()
    finished: bool = False


class Outlook(NamedTuple):
    """How many coins more it takes to the next stage if the path changes nothing.

    `half` of the time and with 95 % (`sure`); `days` is how long the first takes at the present
    rate. None for what cannot be told.
    """

    half: int | None = None
    sure: int | None = None
    days: float | None = None


def decide(flag: Flag, ledger: Ledger) -> Verdict:
    """What the guard does with the flag at the ledger's time."""
    if isinstance(flag.rollout, int) and not flag.enabled:
        return Verdict("hold", f"{flag.key} is off: there is nothing to decide")
    threshold = flag.rollout if isinstance(flag.rollout, int) else 0
    if threshold == 100_000:
        sentence = f"{flag.key} is at 100 %: without a control nothing can be decided"
        return Verdict("hold", sentence, finished=True)
    harm = ledger.tests.harm.log_e
    if harm >= log(ledger.guard.kill):
        return Verdict("kill", f"{flag.key}, failures are more frequent inside: {odds(harm)}")
    if threshold == 0:
        first = percent_text(ledger.guard.stages[0])
        return Verdict(
            "hold",
            f"{flag.key} is at 0 %: nobody is inside",
            missing=(f"a beginning: rollout set {flag.key} --percent {first}",),
        )
    doubts = tuple(doubted(ledger))
    stage = ledger.guard.next_stage(threshold)
    if stage is None:
        return _at_the_end(flag, ledger, threshold, doubts)
    missing = (*doubts, *_missing(ledger, threshold, stage))
    if missing:
        stays = f"{flag.key} stays at {percent_text(threshold)} %"
        return Verdict("hold", stays, missing=missing)
    return Verdict(
        "advance",
        f"{flag.key} to {percent_text(stage)} %, failures rise by less than "
        f"{100 * ledger.guard.budget:g} %: {odds(ledger.tests.advance[stage].peak)}",
        stage,
    )


def outlook(flag: Flag, ledger: Ledger) -> Outlook:
    """What it takes to the next stage, where there is one that the evidence has not reached."""
    threshold, bar = flag.rollout, log(ledger.guard.advance)
    stage = ledger.guard.next_stage(threshold) if isinstance(threshold, int) else None
    if not flag.enabled or not threshold or stage is None or not isinstance(threshold, int):
        return Outlook()
    evidence = ledger.tests.advance[stage]
    if evidence.peak >= bar:
        return Outlook()
    half = coins_needed(evidence.mixture, bar, threshold, power=0.5, start=evidence.logs)
    sure = coins_needed(evidence.mixture, bar, threshold, start=evidence.logs)
    rate = coins_a_day(ledger)
    return Outlook(half, sure, half / rate if half and rate else None)


def doubted(ledger: Ledger) -> list[str]:
    """What says that the records are not what they should be."""
    doubts = []
    if (ratio := ledger.sample_ratio) >= log(SAMPLE_RATIO):
        doubts.append(f"records are missing in one cohort: {odds(ratio)}")
    control = max(ledger.tests.control_harm.log_e, ledger.tests.control_good.log_e)
    if control >= log(CONTROL):
        doubts.append(f"failures of the apps' own differ between the cohorts: {odds(control)}")
    return doubts


def units_seen(ledger: Ledger) -> int:
    """How many units there are in the records."""
    if ledger.by_deploy:
        return sum(cell.deploys for cell in ledger.cells.values())
    return len(ledger.units)


def seen_since(ledger: Ledger, threshold: int) -> float | None:
    """The Unix time of the first record at this percentage."""
    return min((c.first for (at, _), c in ledger.cells.items() if at == threshold), default=None)


def coins_a_day(ledger: Ledger) -> float:
    """How many coins there were a day, over the last days that had any."""
    recent = ledger.days[-_RECENT_DAYS:]
    return sum(day.coins for day in recent) / len(recent) if recent else 0.0


def odds(log_e: float) -> str:
    """Evidence for people: "112 to 1"; beyond a million as a power of ten."""
    if log_e > log(1e6):
        return f"more than 10^{int(log_e / log(10))} to 1"
    number = round(2.718281828459045**log_e, 9)
    return f"{number:,.0f} to 1" if number >= 100 else f"{number:.2g} to 1"


def _missing(ledger: Ledger, threshold: int, stage: int) -> list[str]:
    guard, missing = ledger.guard, []
    evidence = ledger.tests.advance[stage]
    if evidence.peak < log(guard.advance):
        missing.append(
            f"evidence for {percent_text(stage)} %: {odds(evidence.log_e)} of {guard.advance:g}"
        )
    since = seen_since(ledger, threshold)
    baked = 0.0 if since is None else ledger.question.now - since
    if baked < guard.bake_s:
        left = span(guard.bake_s - baked)
        missing.append(f"{left} more at {percent_text(threshold)} %")
    inside = units_seen(ledger) * threshold / 100_000
    if inside < guard.min_units:
        missing.append(f"units: {inside:.1f} of {guard.min_units} inside")
    return missing


def _at_the_end(flag: Flag, ledger: Ledger, threshold: int, doubts: tuple[str, ...]) -> Verdict:
    """The last stage is a holdback; after 14 days of it the flag has done its work."""
    since = seen_since(ledger, threshold)
    held = 0.0 if since is None else ledger.question.now - since
    left = HOLDBACK_DAYS * DAY_S - held
    if left > 0 or doubts:
        rest = (f"{span(left)} more as a holdback",) if left > 0 else ()
        sentence = f"{flag.key} is at its last stage, {percent_text(threshold)} %"
        return Verdict("hold", sentence, missing=(*doubts, *rest))
    return Verdict(
        "hold",
        f"{flag.key} was at {percent_text(threshold)} % for {HOLDBACK_DAYS} days: "
        "it can go to 100 % and be removed",
        finished=True,
    )


def span(seconds: float) -> str:
    """`3 d`, `5 h` or `20 min`, rounded up."""
    for unit, size in (("d", DAY_S), ("h", 3600.0)):
        if seconds > 2 * size:
            return f"{-int(-seconds // size)} {unit}"
    return f"{-int(-seconds // 60)} min"
