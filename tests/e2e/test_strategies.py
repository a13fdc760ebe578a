"""Every strategy under steady traffic: real processes, real HTTP, no failed request."""

from __future__ import annotations

import pytest

from tests.worlds.outside import V1, V2, Project
from tests.worlds.traffic import replace_under_traffic


@pytest.mark.parametrize(
    ("retries", "strategies"),
    [("0", ["rolling"]), ("2", ["rolling", "canary", "bluegreen"])],
    ids=["legacy", "retrying"],
)
def test_no_request_fails_while_a_deploy_replaces_every_machine(
    project: Project, retries: str, strategies: list[str]
) -> None:
    replace_under_traffic(project, V1, V2, strategies=strategies, retries=retries)


def test_immediate_replaces_every_machine_at_once(project: Project) -> None:
    project.must("-i", V1)

    done = project.deploy("-i", V2, "--strategy", "immediate")

    assert done.code == 0, done
    assert project.images() == [V2, V2]
