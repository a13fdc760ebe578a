"""An account as HTML: verdict, evidence over time, cohorts with their intervals. Pure."""

from __future__ import annotations

from datetime import datetime
from math import ceil, floor, log, log10

from rollout.flag import percent_text
from rollout.outcomes.account import Account
from rollout.outcomes.rates import Cohort, Rate
from rollout.outcomes.site.charts import Chart, Level, Line, draw
from rollout.outcomes.site.parts import badge, document, facts, legend, listed, section, table, text
from rollout.outcomes.verdict import odds
from rollout.outcomes.words import rate_text

_TONES = {"advance": "good", "kill": "bad", "hold": "info"}


def page(account: Account) -> str:
    """The page of `rollout outcomes --html`: one flag, by itself."""
    key = account.flag.key
    head = f"<header><h1>{text(key)} {verdict_badge(account)}</h1></header>"
    return document(f"outcomes of {key}", head + sections(account))


def verdict_badge(account: Account) -> str:
    """The verdict in a word."""
    return badge(account.verdict.kind, _TONES[account.verdict.kind])


def sections(account: Account) -> str:
    """Verdict, evidence, cohorts and warnings, each a card."""
    return "".join(
        (
            section("The guard", _verdict(account)),
            section("Evidence", _evidence(account)),
            section("Deploys inside and outside", _cohorts(account)),
            section("Beware", listed(account.warnings)),
            section("Left out", listed(account.passed_over)),
        )
    )


def _verdict(account: Account) -> str:
    verdict, (half, sure, days) = account.verdict, account.outlook
    expected = ""
    if half:
        most = f", with 95 % no more than {sure:,}" if sure else ""
        soon = f"; about {max(1, round(days))} d at the present rate" if days else ""
        expected = f'<p class="soft">About {half:,} coins more{most}{soon}.</p>'
    missing = listed(f"missing: {each}" for each in verdict.missing)
    return f'<p class="lead">{text(verdict.sentence)}</p>{missing}{expected}'


def _evidence(account: Account) -> str:
    ledger, tests = account.ledger, account.ledger.tests
    threshold = account.flag.rollout
    stage = ledger.guard.next_stage(threshold) if isinstance(threshold, int) else None
    told: list[tuple[str, object]] = [
        ("Harm", odds(tests.harm.log_e)),
        ("Good", odds(tests.good.log_e)),
        ("Coins", f"{ledger.coins:,}, {ledger.coins_inside:,} inside"),
    ]
    if stage is not None:
        to_stage = tests.advance[stage]
        told.insert(2, (f"To {percent_text(stage)} %", odds(to_stage.log_e)))
    return (
        f'<p class="lead">{_sentence(account.sentence)}</p>{facts(told)}{_chart(account)}'
        f'<p class="soft">{_sentence(account.meaning)}</p>'
    )


def _sentence(words: str) -> str:
    return text(words[:1].upper() + words[1:] + ".")


def _chart(account: Account) -> str:
    days, guard = account.ledger.days, account.ledger.guard
    if len(days) < 2:
        return ""
    times = [datetime.fromisoformat(f"{day.date}T23:59+00:00").timestamp() for day in days]
    series = {
        "harm": [day.harm / log(10) for day in days],
        "good": [day.good / log(10) for day in days],
        "next stage": [(day.advance or 0.0) / log(10) for day in days],
    }
    tones = {"harm": "bad", "good": "good", "next stage": "info"}
    kill, advance = log10(guard.kill), log10(guard.advance)
    values = [value for line in series.values() for value in line]
    low, high = floor(min([-1.0, *values])), ceil(max([kill + 0.3, *values]))
    lines = [Line(list(zip(times, series[name], strict=True)), tones[name]) for name in series]
    step = max(1, (high - low) // 6)
    ticks = [(float(power), f"10^{power}") for power in range(low, high + 1, step)]
    levels = (
        Level(kill, f"{guard.kill:g} to 1: killed"),
        Level(advance, f"{guard.advance:g} to 1: advanced"),
    )
    label = f"evidence over time, from {days[0].date} to {days[-1].date}"
    return draw(Chart(label, lines, low, high, ticks, levels=levels)) + legend(tones)


def _cohorts(account: Account) -> str:
    sides = (("inside", account.inside), ("outside", account.outside))
    rates = [cohort.rate for _, cohort in sides if cohort.rate]
    if not rates:
        return '<p class="soft">No deploys yet.</p>'
    top = min(1.0, max(rate.high for rate in rates) * 1.15) or 1.0
    event = account.ledger.question.event.words
    heads = [
        "",
        "Units",
        "Deploys",
        event,
        "Rate (95 %)",
        "Causes",
        "Retries",
        "Recovered",
        "Mean time",
    ]
    rows = [_row(side, cohort, top) for side, cohort in sides]
    return table(heads, rows, ("Units", "Deploys", event, "Retries", "Recovered"))


def _row(side: str, cohort: Cohort, top: float) -> list[str]:
    causes = ", ".join(f"{cause} {number:,}" for cause, number in cohort.causes.items())
    return [
        text(side),
        f"{cohort.units:,}",
        f"{cohort.deploys:,}",
        f"{cohort.events:,}",
        text(rate_text(cohort.rate)) + _scale(cohort.rate, top),
        text(causes or "-"),
        f"{cohort.retries:,}",
        f"{cohort.mended:,}",
        "-" if cohort.mean_s is None else f"{cohort.mean_s:.1f} s",
    ]


def _scale(rate: Rate | None, top: float) -> str:
    if rate is None:
        return ""
    share, low, high = (100 * number / top for number in rate)
    return (
        f'<div class="scale" role="img" aria-label="{text(rate_text(rate))}">'
        f'<i style="left:{low:.1f}%;width:{min(high, 100) - low:.1f}%"></i>'
        f'<b style="left:{min(share, 100):.1f}%"></b></div>'
    )
