"""What a ledger says, as one value: for the terminal, for programs and for pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import log
from typing import Any, NamedTuple

from rollout.flag import Flag, percent_text
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.observed import HARMLESS, WORDS, Reason
from rollout.outcomes.rates import Cohort, cohort
from rollout.outcomes.verdict import Outlook, Verdict, decide, doubted, odds, outlook, units_seen
from rollout.wording import count


class Account(NamedTuple):
    """A flag, its ledger and verdict, both cohorts, and what was left out.

    `notes` are warnings from reading the records: places broken, patterns without files.
    """

    flag: Flag
    ledger: Ledger
    verdict: Verdict
    outlook: Outlook
    inside: Cohort
    outside: Cohort
    left: Mapping[Reason, int]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, flag: Flag, ledger: Ledger, left: Mapping[Reason, int], notes: tuple[str, ...] = ()
    ) -> Account:
        verdict = decide(flag, ledger)
        ahead = outlook(flag, ledger) if verdict.kind == "hold" else Outlook()
        sides = cohort(ledger, True), cohort(ledger, False)
        return cls(flag, ledger, verdict, ahead, *sides, left, notes)

    @property
    def warnings(self) -> list[str]:
        """What keeps the numbers from being what they seem."""
        found = [*self.notes, *doubted(self.ledger)]
        for reason, number in sorted(self.left.items()):
            if number and reason not in HARMLESS:
                found.append(f"{count(number, 'record')} left out, {WORDS[reason]}")
        if number := self.ledger.first_version:
            found.append(
                f"{count(number, 'record')} of version 1: they do not say why a deploy failed, nor "
                "count deploys that were killed"
            )
        return found

    @property
    def passed_over(self) -> list[str]:
        """What was left out and need not worry anybody."""
        return [
            f"{count(number, 'record')} left out, {WORDS[reason]}"
            for reason, number in sorted(self.left.items())
            if number and reason in HARMLESS
        ]

    @property
    def sentence(self) -> str:
        """The evidence for harm and for good in a sentence."""
        tests, word = self.ledger.tests, self.ledger.question.event.words
        harm, good = tests.harm.log_e, tests.good.log_e
        if not self.ledger.coins:
            return f"no deploy that was {word} tells anything yet"
        if harm >= log(20):
            return f"deploys inside are more often {word}: {odds(harm)}"
        if good >= log(20):
            return f"deploys inside are less often {word}: {odds(good)}"
        return f"nothing shows that deploys inside are more or less often {word}"

    @property
    def meaning(self) -> str:
        """What is compared, which differs with the unit."""
        if self.ledger.by_deploy:
            return "every deploy is drawn: the evidence is about the ratio of failure rates"
        unit = self.flag.bucket_by
        return (
            f"every {unit} is drawn once: the evidence is about first failures, whose odds ratio "
            "is nearer to 1 than the ratio of failure rates (1.26 for 1.67)"
        )


def as_json(account: Account) -> dict[str, Any]:
    """The account for programs; evidence as decimal logarithms, rounded, times as ISO 8601."""
    ledger, verdict, ahead = account.ledger, account.verdict, account.outlook
    tests = ledger.tests
    return {
        "version": 1,
        "flag": account.flag.key,
        "at": iso(ledger.question.now),
        "bucket_by": account.flag.bucket_by,
        "event": str(ledger.question.event),
        "percent": _percent(account.flag),
        "cohorts": {"inside": _cohort(account.inside), "outside": _cohort(account.outside)},
        "units": units_seen(ledger),
        "coins": {
            "counted": ledger.coins,
            "inside": ledger.coins_inside,
            "told_nothing": ledger.skipped,
        },
        "log10_evidence": {
            "harm": _log10(tests.harm.log_e),
            "good": _log10(tests.good.log_e),
            "advance": {
                percent_text(stage): {"now": _log10(test.log_e), "peak": _log10(test.peak)}
                for stage, test in tests.advance.items()
            },
            "sample_ratio": _log10(ledger.sample_ratio),
            "control_harm": _log10(tests.control_harm.log_e),
            "control_good": _log10(tests.control_good.log_e),
        },
        "sentence": account.sentence,
        "days": [
            {
                "date": day.date,
                "percent": day.threshold / 1000,
                "coins": day.coins,
                "inside": day.inside,
                "harm": _log10(day.harm),
                "good": _log10(day.good),
                "advance": None if day.advance is None else _log10(day.advance),
            }
            for day in ledger.days
        ],
        "verdict": {
            "kind": verdict.kind,
            "sentence": verdict.sentence,
            "to": None if verdict.to is None else verdict.to / 1000,
            "missing": list(verdict.missing),
            "coins_needed": {"half": ahead.half, "sure": ahead.sure},
            "days": None if ahead.days is None else round(ahead.days, 1),
            "finished": verdict.finished,
        },
        "left_out": {reason: number for reason, number in sorted(account.left.items()) if number},
        "warnings": account.warnings,
    }


def iso(at: float) -> str:
    """A Unix time as ISO 8601 in UTC, to the minute."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%MZ")


def _percent(flag: Flag) -> float | None:
    return flag.rollout / 1000 if isinstance(flag.rollout, int) else None


def _cohort(of: Cohort) -> dict[str, Any]:
    rate = of.rate
    return {
        "units": of.units,
        "deploys": of.deploys,
        "events": of.events,
        "rate": None if rate is None else [round(number, 6) for number in rate],
        "causes": of.causes,
        "retries_used": of.retries,
        "hiccups_mended": of.mended,
        "mean_s": None if of.mean_s is None else round(of.mean_s, 1),
    }


def _log10(log_e: float) -> float:
    return round(log_e / log(10), 4) + 0.0
