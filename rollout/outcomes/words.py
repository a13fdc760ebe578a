"""An account as lines for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from typing import Final

from rollout.flag import percent_text
from rollout.outcomes.account import Account, iso
from rollout.outcomes.ledger import Day
from rollout.outcomes.rates import Cohort, Rate
from rollout.outcomes.verdict import odds
from rollout.wording import count, table

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.-=+*#@"
_WIDEST: Final = 60


def lines(account: Account, *, ascii_only: bool = False) -> Iterator[str]:
    """Cohorts, evidence, coins, the verdict and what to beware of."""
    ledger = account.ledger
    deploys = account.inside.deploys + account.outside.deploys
    units = "" if ledger.by_deploy else f" of {_units(account)}"
    yield f"{account.flag.key}: {count(deploys, 'deploy')}{units}{_from_to(account)}"
    if deploys:
        yield ""
        yield from _cohorts(account)
        yield ""
        yield from _evidence(account)
        yield from _plot(ledger.days, ascii_only=ascii_only)
    yield ""
    yield from verdict_lines(account)
    notes = [*(f"warning: {warning}" for warning in account.warnings), *account.passed_over]
    if notes:
        yield ""
        yield from notes


def verdict_lines(account: Account) -> Iterator[str]:
    """What the guard says, and what is missing."""
    verdict = account.verdict
    yield f"{verdict.kind}: {verdict.sentence}"
    for missing in verdict.missing:
        yield f"  missing: {missing}"
    half, sure, days = account.outlook
    if half:
        often = f"; with 95 % no more than {sure:,}" if sure else ""
        yield f"  about {count(half, 'coin')} more if the path changes nothing{often}"
    if days is not None:
        yield f"  at the present rate about {max(1, round(days))} d"


def rate_text(rate: Rate | None) -> str:
    """`2.8 % (1.7 to 4.5)`."""
    if rate is None:
        return "-"
    share, low, high = (f"{100 * number:.1f}" for number in rate)
    return f"{share} % ({low} to {high})"


def _units(account: Account) -> str:
    return count(len(account.ledger.units), account.flag.bucket_by)


def _from_to(account: Account) -> str:
    cells = account.ledger.cells.values()
    if not cells:
        return ""
    first, last = min(c.first for c in cells), max(c.last for c in cells)
    return f", {iso(first)[:10]} to {iso(last)[:10]}"


def _cohorts(account: Account) -> list[str]:
    causes = [*account.outside.causes, *account.inside.causes]
    names = sorted(set(causes), key=causes.index)
    event = account.ledger.question.event.words
    heads = [
        "",
        "units",
        "deploys",
        event,
        "rate (95 %)",
        *names,
        "retries",
        "recovered",
        "mean time",
    ]
    sides = (("inside", account.inside), ("outside", account.outside))
    return table([heads, *(_row(side, cohort, names) for side, cohort in sides)])


def _row(side: str, cohort: Cohort, causes: Sequence[str]) -> list[str]:
    return [
        side,
        f"{cohort.units:,}",
        f"{cohort.deploys:,}",
        f"{cohort.events:,}",
        rate_text(cohort.rate),
        *(f"{cohort.causes.get(cause, 0):,}" for cause in causes),
        f"{cohort.retries:,}",
        f"{cohort.mended:,}",
        "-" if cohort.mean_s is None else f"{cohort.mean_s:.1f} s",
    ]


def _evidence(account: Account) -> Iterator[str]:
    ledger = account.ledger
    yield f"{account.sentence} ({account.meaning})"
    rows = [
        ["harm", odds(ledger.tests.harm.log_e), f"{ledger.guard.kill:g} switch it off"],
        ["good", odds(ledger.tests.good.log_e), ""],
    ]
    threshold = account.flag.rollout
    stage = ledger.guard.next_stage(threshold) if isinstance(threshold, int) else None
    if stage is not None:
        evidence = ledger.tests.advance[stage]
        needed = f"{ledger.guard.advance:g} are needed"
        rows.append([f"to {percent_text(stage)} %", odds(evidence.log_e), needed])
    yield from table(rows)
    rest = f", {ledger.skipped:,} more failures tell nothing new" if ledger.skipped else ""
    yield f"{count(ledger.coins, 'coin')}, {ledger.coins_inside:,} of them inside{rest}"


def _plot(days: Sequence[Day], *, ascii_only: bool) -> Iterator[str]:
    """Evidence by day, each as its decimal logarithm between the least and the greatest."""
    shown = days[-_WIDEST:]
    if len(shown) < 2:
        return
    yield ""
    for name, values in (
        ("harm", [day.harm for day in shown]),
        ("good", [day.good for day in shown]),
        ("advance", [day.advance or 0.0 for day in shown]),
    ):
        low, high = (bound(values) / log(10) for bound in (min, max))
        bars = _bars(values, _ASCII if ascii_only else _BLOCKS)
        yield f"{name:8}{bars}  10^{low:.1f} to 10^{high:.1f}"
    yield f"{'':8}{shown[0].date} to {shown[-1].date}"


def _bars(values: Sequence[float], signs: str) -> str:
    low, high = min(values), max(values)
    step = (high - low) / (len(signs) - 1) or 1.0
    return "".join(signs[round((value - low) / step)] for value in values)
