from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rollout.commands.running import run
from tests.rollout.commands.test_outcomes import AT, FLAGS, deploys
from tests.rollout.outcomes.making import FLAG, write
from tests.rollout.repo import Repo


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOY_REPORTS", raising=False)
    Path("flags.yaml").write_text(FLAGS)


def test_it_advances_with_exit_code_10_and_writes_one_line() -> None:
    write(Path("r.jsonl"), deploys(0.5, 0.5))
    told = run("guard", FLAG, "--reports", "r.jsonl", at=AT)
    assert told.exit_code == 10
    assert told.output.startswith(
        "advance: deploy-retries to 50 %, failures rise by less than 25 %: "
    )
    assert Path("flags.yaml").read_text() == FLAGS
    told = run("guard", FLAG, "--reports", "r.jsonl", "--write", at=AT)
    assert told.exit_code == 10
    assert Path("flags.yaml").read_text() == FLAGS.replace("25  # the", "50  # the")
    assert "+    percent: 50  # the number" in told.output


def test_what_it_writes_leaves_the_json_alone() -> None:
    write(Path("r.jsonl"), deploys(0.5, 0.5))
    told = run("guard", FLAG, "r.jsonl", "--write", "--output", "json", at=AT)
    assert (told.exit_code, json.loads(told.stdout)["verdict"]["to"]) == (10, 50.0)
    assert "+    percent: 50  # the number" in told.stderr


def test_it_kills_with_exit_code_20_and_switches_the_flag_off() -> None:
    write(Path("r.jsonl"), deploys(0.6, 0.2))
    told = run("guard", FLAG, "--reports", "r.jsonl", "--write", at=AT)
    assert told.exit_code == 20
    assert told.output.startswith("kill: deploy-retries, failures are more frequent inside: ")
    assert "    enabled: false\n    percent: 25  # the number\n" in Path("flags.yaml").read_text()
    assert run("guard", FLAG, "--reports", "r.jsonl", "--write", at=AT).exit_code == 0


def test_it_holds_with_exit_code_0_and_says_what_is_missing() -> None:
    write(Path("r.jsonl"), deploys(0.02, 0.02, count=200))
    told = run("guard", FLAG, "--reports", "r.jsonl", "--write", at=AT)
    assert told.exit_code == 0
    assert "missing: evidence for 50 %: " in told.output
    assert "coins more if the path changes nothing; with 95 % no more than " in told.output
    assert Path("flags.yaml").read_text() == FLAGS


def test_the_verdict_is_that_of_the_time_asked_for() -> None:
    write(Path("r.jsonl"), deploys(0.5, 0.5))
    early = run("guard", FLAG, "r.jsonl", "--output", "json", at="2026-11-18T03:00Z")
    assert early.exit_code == 0
    told = json.loads(early.stdout)
    assert told["left_out"]["later"] > 800
    assert any(missing.endswith("more at 25 %") for missing in told["verdict"]["missing"])


def test_a_flag_without_a_guard_takes_the_defaults_and_says_so() -> None:
    Path("flags.yaml").write_text(FLAGS.replace("    guard: {min_units: 10}\n", ""))
    write(Path("r.jsonl"), deploys(0.5, 0.5))
    told = run("guard", FLAG, "r.jsonl", at=AT)
    assert "deploy-retries has no guard: in flags.yaml; defaults are taken" in told.output


def test_a_flag_with_a_ramp_is_refused() -> None:
    ramp = "ramp: [{at: 2026-11-01T00:00Z, percent: 5}]"
    text = FLAGS.replace("percent: 25  # the number", ramp)
    Path("flags.yaml").write_text(text.replace("    guard: {min_units: 10}\n", ""))
    told = run("guard", FLAG, "--reports", ".", at=AT)
    assert told.exit_code == 1
    assert told.output.startswith("Error: deploy-retries has a ramp, which moves it by the clock")


def test_the_plan_says_what_every_stage_takes() -> None:
    told = run("guard", FLAG, "--plan", at=AT)
    assert told.exit_code == 0
    rows = [" ".join(line.split()) for line in told.output.splitlines()]
    assert "5 % 48 to 132 959 to 2,504 274 to 711 94 to 233" in rows
    assert any(row.startswith("95 % - ") for row in rows)
    told = run("guard", FLAG, "--plan", "--output", "json", at=AT)
    first, *_, last = json.loads(told.stdout)["stages"]
    assert (first["percent"], first["advance"]) == (5.0, {"half": 48, "sure": 132})
    assert first["kill"]["1.5"] == {"half": 959, "sure": 2504}
    assert (last["percent"], last["advance"]) == (95.0, None)


CODE = """\
x = 1
retries = ask("deploy-retries")
# deploy-retries: from here
old()
# deploy-retries: to here
"""


def test_at_its_end_it_names_where_the_flag_stands_in_the_code(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    text = FLAGS.replace("percent: 25", "percent: 95")
    repo.commit({"flags.yaml": text, "app.py": CODE})
    told = [
        one | {"assigned": one["assigned"] | {"percent": 95.0, "variant": variant}}
        for one in deploys(0.0, 0.0, count=300)
        if (variant := "inside" if one["assigned"]["bucket"] < 95_000 else "outside")
    ]
    write(tmp_path / "r.jsonl", told)
    result = run("guard", FLAG, "r.jsonl", at=AT)
    assert result.exit_code == 0
    assert "it can go to 100 % and be removed" in result.output
    assert "the flag is named in app.py:3, app.py:5, app.py:2\n" in result.output
    result = run("guard", FLAG, "r.jsonl", "--output", "json", at=AT)
    assert json.loads(result.stdout)["places"] == ["app.py:3", "app.py:5", "app.py:2"]
    repo.commit({"flags.yaml": text.replace("percent: 95", "percent: 100")})
    result = run("guard", FLAG, "r.jsonl", at=AT)
    assert "is at 100 %" in result.output
    assert "the flag is named in app.py:3, app.py:5, app.py:2" in result.output


def test_who_changes_the_flag_meanwhile_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.commands import gathering

    write(Path("r.jsonl"), deploys(0.5, 0.5))
    whole = gathering.account_of

    def slowly(given: gathering.Given) -> object:
        account = whole(given)
        Path("flags.yaml").write_text(FLAGS.replace("percent: 25", "percent: 26"))
        return account

    monkeypatch.setattr(gathering, "account_of", slowly)  # somebody else is quicker
    told = run("guard", FLAG, "r.jsonl", "--write", at=AT)
    assert told.exit_code == 1
    assert "deploy-retries was changed by somebody else meanwhile" in told.output
    assert "percent: 26" in Path("flags.yaml").read_text()
