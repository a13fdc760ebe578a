"""Apps whose every machine is replaced while requests go to them; none of these may fail."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from examples.demo import traffic
from tests.worlds.outside import Project, finish


def replace_under_traffic(
    project: Project, before: str, after: str, *words: str, strategies: Sequence[str], retries: str
) -> None:
    """Deploy the image `after` over `before`, on a sibling of the project for each strategy.

    All at once: `words` are options of all deploys.
    """
    apps = {name: project.sibling(name) for name in strategies}
    for first in [app.begin("-i", before, *words) for app in apps.values()]:
        assert finish(first).code == 0

    with ExitStack() as under_way:
        tallies = {
            name: under_way.enter_context(traffic.steady(*app.entrance()))
            for name, app in apps.items()
        }
        words = ("-i", after, "--deploy-retries", retries, *words, "--strategy")
        deploys = [app.begin(*words, name) for name, app in apps.items()]
        ended = [finish(deploy) for deploy in deploys]

    for done, (name, app) in zip(ended, apps.items(), strict=True):
        assert done.code == 0, (name, done)
        assert app.images() == [after, after], name
        assert (tallies[name].failed, tallies[name].first_failure) == (0, ""), name
        assert set(tallies[name].by_image) == {before, after}, name  # answered before, and after
        assert traffic.ask(*app.entrance()) == (after, ""), name
