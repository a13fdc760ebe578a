from __future__ import annotations

from typing import Any

import pytest

from rollout.errors import BadFlagFile
from rollout.file import flagfile
from rollout.flag.guard import Event, Guard
from tests.rollout.commands.running import run

HEAD = "version: 1\nflags:\n  a:\n    bucket_by: app\n    inside: 1\n    outside: 0\n"


def parsed(guard: str) -> Guard | None:
    return flagfile.parse(f"{HEAD}    percent: 5\n    guard: {guard}\n").flags["a"].guard


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{}", {}),
        ("{stages: [1, 2.5, 99.999]}", {"stages": (1_000, 2_500, 99_999)}),
        ("{bake: 36h}", {"bake_s": 36 * 3600}),
        ("{bake: 1d12h}", {"bake_s": 36 * 3600}),
        ("{event: platform}", {"event": Event("platform")}),
        ("{event: slower:90.5}", {"event": Event("slower", 90.5)}),
        ("{kill: 50, advance: 10, budget: 0.1, min_units: 5}",
         {"kill": 50.0, "advance": 10.0, "budget": 0.1, "min_units": 5}),
    ],
)  # fmt: skip
def test_a_guard_says_what_it_says_and_defaults_for_the_rest(
    text: str, meant: dict[str, Any]
) -> None:
    assert parsed(text) == Guard(**meant)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{stages: [5, 25, 10]}", "a: guard: stages: 10 is not above 25"),
        ("{stages: [0, 5]}", "a: guard: stages: 0 is not above 0"),
        (
            "{stages: [5, 100]}",
            "a: guard: stages: the last stage is 100, where there is no control",
        ),
        ("{stages: []}", "a: guard: stages: it has no stages"),
        ("{stages: 5}", "a: guard: stages: it is a number, not a list"),
        ("{stages: [5, x]}", "a: guard: stages: x is not a number"),
        ("{bake: soon}", "a: guard: bake: soon is not a span of time"),
        ("{event: sad}", "a: guard: event: sad is not an event"),
        ("{kill: 1}", "a: guard: kill: 1 is not above 1"),
        ("{advance: '20'}", 'a: guard: advance: "20" is not a number'),
        ("{budget: 0}", "a: guard: budget: it is 0"),
        ("{min_units: 2.5}", "a: guard: min_units: 2.5 is not a whole number"),
        ("{stage: [5]}", "a: guard: unknown key stage; did you mean stages?"),
        ("[5]", "a: guard: it is a list, not a mapping"),
    ],
)
def test_a_guard_that_makes_no_sense_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(BadFlagFile) as caught:
        parsed(text)
    assert str(caught.value.problems[0]).split(": ", 1)[1].startswith(said)


def test_a_flag_has_a_guard_or_a_ramp() -> None:
    ramp = "    ramp: [{at: 2027-01-01T00:00Z, percent: 5}]\n    guard: {}\n"
    with pytest.raises(BadFlagFile, match="a flag has either a guard or a ramp"):
        flagfile.parse(HEAD + ramp)


VARIED = """version: 1
flags:
  a:
    bucket_by: app
    variants: {new: {weight: 50, value: 1}, old: {weight: 50, value: 0}}
"""


def test_a_flag_with_variants_has_no_guard_which_is_one_error() -> None:
    with pytest.raises(BadFlagFile) as caught:
        flagfile.parse(f"{VARIED}    guard: {{kill: 1}}\n")
    fix = "remove guard, or write inside and outside instead of variants"
    assert [str(problem) for problem in caught.value.problems] == [
        f"6:5: a: a flag with variants has no guard; {fix}"
    ]


def test_outcomes_do_not_move_a_flag_with_variants(tmp_path: Any) -> None:
    flags = tmp_path / "flags.yaml"
    flags.write_text(VARIED)
    result = run("guard", "a", "--plan", "--file", str(flags))
    assert result.exit_code == 1
    assert "a has variants, and outcomes are compared between two sides" in result.output
    assert flags.read_text() == VARIED


def test_diff_says_that_variants_come_in_the_place_of_a_guard(tmp_path: Any) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(f"{HEAD}    percent: 5\n    guard: {{}}\n")
    new.write_text(VARIED)
    told = run("diff", str(old), str(new)).output
    assert "variants: " in told
    assert "guard: removed" in told


def test_diff_explain_and_list_say_that_there_is_a_guard(tmp_path: Any) -> None:
    old, new, later = (tmp_path / name for name in ("old.yaml", "new.yaml", "later.yaml"))
    old.write_text(f"{HEAD}    percent: 5\n")
    new.write_text(f"{HEAD}    percent: 5\n    guard: {{}}\n")
    later.write_text(f"{HEAD}    percent: 5\n    guard: {{bake: 48h, kill: 50}}\n")
    assert "guard: outcomes move the percentage" in run("diff", str(old), str(new)).output
    assert "guard: bake 24h -> 48h; kill 100 -> 50" in run("diff", str(new), str(later)).output
    told = run("explain", "a", "--unit", "hello", "--file", str(later)).output
    assert "outcomes move the percentage (stages 5, 10, 25, 50, 95, bake 48h, " in told
    assert "5 % (guard)" in run("list", "--file", str(later)).output
