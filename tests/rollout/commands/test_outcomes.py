from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.rollout.commands.running import run
from tests.rollout.outcomes.making import DAY, FLAG, START, apps, lines, made, write

AT = "2026-12-10T00:00Z"
FLAGS = """\
version: 1
flags:
  deploy-retries:
    bucket_by: deploy
    percent: 25  # the number
    inside: 5
    outside: 0
    guard: {min_units: 10}
"""


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOY_REPORTS", raising=False)
    Path("flags.yaml").write_text(FLAGS)


def deploys(inside: float, outside: float, *, count: int = 900) -> list[dict[str, Any]]:
    """Deploys over nine days at 25 %, of which such shares fail."""
    rng, told = random.Random(1), []
    for number in range(count):
        one = made(number, f"app-{number % 40}", 25.0, at=START + number * DAY / 100, by="deploy")
        share = inside if one["assigned"]["variant"] == "inside" else outside
        told.append(one | {"result": "failed" if rng.random() < share else "done",
                           "cause": "platform", "retries_used": 1})  # fmt: skip
    return told


def test_outcomes_compares_the_cohorts_and_says_what_the_evidence_is() -> None:
    write(Path("r.jsonl"), deploys(0.2, 0.2))
    told = run("outcomes", FLAG, "--reports", "r.jsonl", at=AT)
    assert told.exit_code == 0
    first, *rest = told.output.splitlines()
    assert first == "deploy-retries: 900 deploys, 2026-11-18 to 2026-11-27"
    assert rest[1].split() == [
        "units", "deploys", "not", "done", "rate", "(95", "%)", "platform", "retries", "recovered",
        "mean", "time",
    ]  # fmt: skip
    assert "every deploy is drawn: the evidence is about the ratio of failure rates" in told.output
    assert "100 switch it off" in told.output
    assert any(line.startswith("harm ") and "▁" in line for line in rest)


def _two_sides() -> list[dict[str, Any]]:
    """13 apps inside and 23 outside with three deploys each, and every number another one."""
    sides = {True: (13, ["platform"] * 3 + ["app"] * 2, 17, 11, 41.0),
             False: (23, ["outage"] * 4 + ["unknown"] * 5, 7, 19, 53.0)}  # fmt: skip
    told: list[dict[str, Any]] = []
    for inside, (units, causes, retries, mended, took_s) in sides.items():
        for number, app in enumerate(apps(inside, 25.0, units) * 3):
            fails = number < len(causes)
            told.append(
                made(
                    len(told), app, 25.0, "failed" if fails else "done", duration_s=took_s,
                    cause=causes[number] if fails else None, at=START + number * DAY / 20,
                    retries_used=int(number < retries), hiccups_mended=int(number < mended),
                )
            )  # fmt: skip
    return [*told, made(900, v=7), made(901, flag="other"), made(902, flag="other")]


def test_every_output_tells_all_that_is_compared_and_all_that_is_left_out() -> None:
    Path("flags.yaml").write_text(FLAGS.replace("bucket_by: deploy", "bucket_by: app"))
    write(Path("r.jsonl"), _two_sides())
    for_people = run("outcomes", FLAG, "r.jsonl", "--html", "o.html", at=AT).output
    told = json.loads(run("outcomes", FLAG, "r.jsonl", "--output", "json", at=AT).output)
    page = Path("o.html").read_text()
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", page)]
    rows += [line.split() for line in for_people.splitlines()]
    for side, causes, (first, last) in (
        ("inside", {"app": 2, "platform": 3}, ("13 39 5 12.8 %", "17 11 41.0 s")),
        ("outside", {"outage": 4, "unknown": 5}, ("23 69 9 13.0 %", "7 19 53.0 s")),
    ):
        shown = [row for row in rows if row[:1] == [side]]
        assert [row[1:6] for row in shown] == [first.split()] * 2
        assert [row[-4:] for row in shown] == [last.split()] * 2
        numbers = told["cohorts"][side]
        assert numbers["causes"] == causes
        keys = ("units", "deploys", "events", "retries_used", "hiccups_mended", "mean_s")
        told_so = " ".join(str(numbers[key]) for key in keys)
        assert told_so == f"{' '.join(first.split()[:3])} {last.removesuffix(' s')}"
    evidence = ("coins", "the odds", "harm", "good", "stays at 25 %", "missing: evidence for 50 %")
    for text in (for_people, re.sub(r"<[^>]+>", " ", page)):
        for words in (*evidence[2:], "1 record left out, of a version that is neither 1 nor 2",
                      "2 records left out, of another flag", "coins more"):  # fmt: skip
            assert words.lower() in text.lower(), words
    assert told["left_out"] == {"flag": 2, "version": 1}
    guard = run("guard", FLAG, "r.jsonl", at=AT)
    assert "2 records left out, of another flag" in guard.stderr


def test_outcomes_for_programs_has_the_same_in_numbers() -> None:
    write(Path("r.jsonl"), [*deploys(0.2, 0.2), made(0, v=7), made(5000, flag="other")])
    told = json.loads(run("outcomes", FLAG, "r.jsonl", "--output", "json", at=AT).output)
    assert told["flag"] == FLAG
    assert told["cohorts"]["inside"]["deploys"] + told["cohorts"]["outside"]["deploys"] == 900
    assert told["coins"]["counted"] == sum(day["coins"] for day in told["days"])
    assert told["left_out"] == {"flag": 1, "version": 1}
    assert told["warnings"] == ["1 record left out, of a version that is neither 1 nor 2"]
    low, high = told["cohorts"]["inside"]["rate"][1:]
    assert low < 0.2 < high


def test_the_same_records_in_any_order_of_files_give_the_same_bytes() -> None:
    told = deploys(0.2, 0.2)
    outputs = set()
    for turn, names in enumerate((("a", "b", "c"), ("c", "a", "b"))):
        Path(str(turn)).mkdir()
        for number, name in enumerate(names):
            write(Path(str(turn)) / f"{name}.jsonl", told[number::3])
        for form in ("text", "json"):
            outputs.add(run("outcomes", FLAG, f"{turn}", "--output", form, at=AT).output)
    assert len(outputs) == 2


def test_standard_input_is_read_even_where_a_deploy_comes_twice() -> None:
    told = deploys(0.2, 0.2, count=50)
    given = lines([*told, told[0]])
    result = run("outcomes", FLAG, "--reports", "-", "--output", "json", given=given, at=AT)
    found = json.loads(result.output)
    assert found["left_out"] == {"repeated": 1}
    assert sum(found["cohorts"][side]["deploys"] for side in ("inside", "outside")) == 50


def test_deploy_reports_is_where_records_are_if_no_place_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("reports/hello").mkdir(parents=True)
    write(Path("reports/hello/one.json"), [made(1, by="deploy")])
    monkeypatch.setenv("DEPLOY_REPORTS", "reports")
    assert "1 deploy," in run("outcomes", FLAG, at=AT).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no records are given"),
        (["--state", "none.json"], "no records are given"),
        (["--reports", "none.json"], "there are no reports at none.json"),
        (["--reports", ".", "--event", "sad"], "--event sad is not an event"),
        (["--coins", "none.csv"], "none.csv cannot be read: No such file or directory"),
        (
            ["--reports", ".", "--coins", "c.csv", "--state", "s"],
            "--state goes with reports",
        ),
    ],
)
def test_what_is_asked_for_in_vain_is_an_error_of_one_line(arguments: list[str], said: str) -> None:
    Path("c.csv").write_text("kind\n")
    told = run("outcomes", FLAG, *arguments, at=AT)
    assert told.exit_code == 2
    assert told.output.startswith(f"Error: {said}")
    assert len(told.output.splitlines()) == 2


def test_without_a_record_there_is_nothing_to_say_and_no_error() -> None:
    told = run("outcomes", FLAG, "--reports", "*.json", at=AT)
    assert told.exit_code == 0
    assert told.output.splitlines()[0] == "deploy-retries: 0 deploys"
    assert "warning: nothing is at *.json" in told.output


def test_a_state_takes_the_place_of_the_records_before_it() -> None:
    told = deploys(0.2, 0.2)
    write(Path("a.jsonl"), told[:400])
    write(Path("b.jsonl"), told[400:])
    middle = "2026-11-22T11:00:00Z"
    both = run("outcomes", FLAG, "a.jsonl", "b.jsonl", "--output", "json", at=AT).output
    run("outcomes", FLAG, "a.jsonl", "--state", "s.json", at=middle)
    split = run("outcomes", FLAG, "b.jsonl", "--state", "s.json", "--output", "json", at=AT).output
    assert json.loads(split)["log10_evidence"] == json.loads(both)["log10_evidence"]
    assert json.loads(split)["cohorts"] == json.loads(both)["cohorts"]


def test_a_state_says_by_itself_what_it_knows() -> None:
    write(Path("a.jsonl"), deploys(0.2, 0.2))
    told = run("outcomes", FLAG, "a.jsonl", "--state", "s.json", "--output", "json", at=AT)
    again = run("outcomes", FLAG, "--state", "s.json", "--output", "json", at=AT)
    assert again.exit_code == 0
    assert json.loads(again.output)["log10_evidence"] == json.loads(told.output)["log10_evidence"]


def test_a_page_can_be_written_as_well() -> None:
    write(Path("r.jsonl"), deploys(0.2, 0.2))
    assert run("outcomes", FLAG, "r.jsonl", "--html", "o.html", at=AT).exit_code == 0
    assert "deploy-retries" in Path("o.html").read_text()


VARIED = """\
version: 1
flags:
  deploy-retries:
    bucket_by: deploy
    variants:
      many: {weight: 10, value: 5, always: {deploy: [both]}}
      few: {weight: 20, value: 2}
      none: {weight: 70, value: 0}
"""


@pytest.mark.parametrize("asked", [("outcomes",), ("outcomes", "--sql", "duckdb"), ("guard",)])
def test_a_flag_with_variants_has_no_two_sides_to_compare(asked: tuple[str, ...]) -> None:
    Path("flags.yaml").write_text(VARIED)
    write(Path("r.jsonl"), deploys(0.2, 0.2))
    command, *options = asked
    told = run(command, FLAG, "--reports", "r.jsonl", *options, at=AT)
    assert told.exit_code == 1
    assert told.stdout == ""
    assert told.stderr.startswith(
        "Error: deploy-retries has variants, and outcomes are compared between two sides\nHint: "
    )
