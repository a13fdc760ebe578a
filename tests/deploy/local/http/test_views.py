from __future__ import annotations

import pytest

from deploy.local.http.views import image_ref
from deploy.local.state import rfc3339


@pytest.mark.parametrize(
    ("image", "registry", "repository", "tag", "digest"),
    [
        ("registry.fly.io/hello:v1", "registry.fly.io", "hello", "v1", ""),
        ("registry.fly.io/a/b@sha256:0f", "registry.fly.io", "a/b", "", "sha256:0f"),
        ("localhost:5000/hello", "localhost:5000", "hello", "latest", ""),
        ("hello:v1", "docker-hub-mirror.fly.io", "hello", "v1", ""),
        ("library/hello", "docker-hub-mirror.fly.io", "library/hello", "latest", ""),
        ("", "", "", "", ""),
    ],
)
def test_an_image_is_taken_apart(
    image: str, registry: str, repository: str, tag: str, digest: str
) -> None:
    assert image_ref(image) == {
        "registry": registry,
        "repository": repository,
        "tag": tag,
        "digest": digest,
    }


def test_times_are_rfc_3339_in_utc() -> None:
    assert rfc3339(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"
