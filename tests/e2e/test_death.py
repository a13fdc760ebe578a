"""A deploy killed with SIGKILL holds nobody up for longer than its leases last."""

from __future__ import annotations

from tests.worlds.outside import HELD, V1, V2, Project, finish


def test_after_kill_9_a_deploy_waits_the_leases_out_and_ends_wholly_new(project: Project) -> None:
    project.must("-i", V1)
    killed = project.hold()
    killed.kill()
    finish(killed)
    assert project.images() == [HELD, V1]

    again = project.deploy("-i", V2, "--wait-for-lease", "20s")

    assert again.code == 0, again
    assert project.images() == [V2, V2]
    assert project.leases() == []
