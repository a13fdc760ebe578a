"""Every strategy under steady traffic: real processes, real HTTP, no failed request."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from examples.demo import traffic
from tests.worlds.outside import V1, V2, Project, finish


@pytest.mark.parametrize(
    ("retries", "strategies"),
    [("0", ["rolling"]), ("2", ["rolling", "canary", "bluegreen"])],
    ids=["legacy", "retrying"],
)
def test_no_request_fails_while_a_deploy_replaces_every_machine(
    project: Project, retries: str, strategies: list[str]
) -> None:
    apps = {name: project.sibling(name) for name in strategies}
    for first in [app.begin("-i", V1) for app in apps.values()]:
        assert finish(first).code == 0

    with ExitStack() as under_way:
        tallies = {
            name: under_way.enter_context(traffic.steady(*app.entrance()))
            for name, app in apps.items()
        }
        words = ("-i", V2, "--deploy-retries", retries, "--strategy")
        deploys = [app.begin(*words, name) for name, app in apps.items()]
        ended = [finish(deploy) for deploy in deploys]

    for done, (name, app) in zip(ended, apps.items(), strict=True):
        assert done.code == 0, (name, done)
        assert app.images() == [V2, V2], name
        assert (tallies[name].failed, tallies[name].first_failure) == (0, ""), name
        assert set(tallies[name].by_image) == {V1, V2}, name  # answered before, and after
        assert traffic.ask(*app.entrance()) == (V2, ""), name


def test_immediate_replaces_every_machine_at_once(project: Project) -> None:
    project.must("-i", V1)

    done = project.deploy("-i", V2, "--strategy", "immediate")

    assert done.code == 0, done
    assert project.images() == [V2, V2]
