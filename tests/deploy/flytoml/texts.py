"""What the tests of fly.toml's readers share: looking at one group, naming the problems."""

from typing import Any

import pytest

from deploy.flytoml.appconfig import AppConfigProblem, parse


def config_of(text: str, group: str = "app", **options: Any) -> dict[str, Any]:
    """The machine configuration of one group."""
    return dict(next(one.config for one in parse(text, **options).groups if one.name == group))


def problems_of(text: str, **options: Any) -> dict[str, str]:
    """What `parse` says is wrong, by key path; each problem has a fix."""
    with pytest.raises(AppConfigProblem) as caught:
        parse(text, **options)
    problems = caught.value.problems
    assert all(problem.fix for problem in problems)
    assert len(set(problems)) == len(problems)
    return {problem.path: f"{problem.what}; {problem.fix}" for problem in problems}
