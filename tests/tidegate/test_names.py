from __future__ import annotations

import pytest

import rollout
import tidegate


def test_every_public_name_of_rollout_is_there_and_the_same() -> None:
    assert set(tidegate.__all__) == set(rollout.__all__)
    for name in tidegate.__all__:
        assert getattr(tidegate, name) is getattr(rollout, name)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_such"):
        tidegate.nothing_such  # noqa: B018 - looking is what fails
