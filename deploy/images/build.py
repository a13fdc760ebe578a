"""Builds an image with Docker's own client: with BuildKit where that is there.

The client and not the engine's API, since a build with BuildKit is a session in which
the client serves files and secrets to the engine: a protocol of its own, which the
client speaks, and .dockerignore with it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
from anyio.streams.text import TextReceiveStream

from deploy.errors import BuildFailed
from deploy.images.recipe import Recipe

Say = Callable[[str], None]
"""Takes one line of the build's output."""

_KEPT_FROM_BUILDS = "FLY_API_TOKEN"
INSTALL = "install Docker (https://docs.docker.com/get-docker/), or name a built image with --image"


async def build(
    recipe: Recipe, tag: str, *, engine: str, environ: Mapping[str, str], say: Say
) -> str:
    """The id of the image, which the engine at that address then has under `tag`.

    Raises BuildFailed.
    """
    client = shutil.which("docker", path=environ.get("PATH"))
    if client is None:
        raise BuildFailed("no image was built: there is no `docker` here", hint=INSTALL)
    if not recipe.dockerfile.is_file():
        raise BuildFailed(
            f"no image was built: there is no {recipe.dockerfile}",
            hint="write one, or name it in fly.toml as [build] dockerfile, or give --image",
        )
    kept = {key: value for key, value in environ.items() if key != _KEPT_FROM_BUILDS}
    env = {**kept, "DOCKER_HOST": engine, "BUILDKIT_PROGRESS": "plain"}
    env["DOCKER_BUILDKIT"] = "1" if await _has_buildkit(client, env) else "0"
    with tempfile.TemporaryDirectory(prefix="tidegate-build-") as scratch:
        image_id = Path(scratch) / "id"
        command, secrets = _command(recipe, tag, image_id, Path(scratch), env)
        code = await _run([client, *command], {**env, **secrets}, say)
        if code or not image_id.is_file():
            raise BuildFailed(
                f"the image could not be built: `docker build` ended with exit code {code}",
                hint="what it said is above; fix the Dockerfile and deploy again",
            )
        return image_id.read_text().strip()


async def _has_buildkit(client: str, env: Mapping[str, str]) -> bool:
    """Its builds take secrets; Docker's client from 23.0 on needs its buildx plugin for them."""
    asked = await anyio.run_process(
        [client, "build", "--help"], env={**env, "DOCKER_BUILDKIT": "1"}, check=False
    )
    return asked.returncode == 0 and b"--secret" in asked.stdout


def _command(
    recipe: Recipe, tag: str, image_id: Path, scratch: Path, env: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """The words after `docker`, and the variables in which the secrets are."""
    has_buildkit = env["DOCKER_BUILDKIT"] == "1"
    needed_by = {"--build-secret": recipe.secrets, "ignorefile": recipe.ignorefile}
    needs = [what for what, is_so in needed_by.items() if is_so]
    if needs and not has_buildkit:
        raise BuildFailed(
            f"no image was built: this client has no BuildKit, for {' and '.join(needs)}",
            hint="install Docker's buildx plugin: https://docs.docker.com/go/buildx/",
        )
    dockerfile = _beside_its_ignorefile(recipe, scratch)
    words = ["build", "--file", str(dockerfile), "--tag", tag, "--iidfile", str(image_id)]
    words += ["--target", recipe.target] if recipe.target else []
    words += ["--platform", recipe.platform] if recipe.platform else []
    words += [] if recipe.uses_cache else ["--no-cache"]
    words += [word for pair in recipe.args.items() for word in ("--build-arg", "=".join(pair))]
    secrets = {}
    for number, (name, value) in enumerate(recipe.secrets.items()):
        variable = f"TIDEGATE_BUILD_SECRET_{number}"
        secrets[variable] = value
        words += ["--secret", f"id={name},env={variable}"]
    return [*words, str(recipe.context)], secrets


def _beside_its_ignorefile(recipe: Recipe, scratch: Path) -> Path:
    """BuildKit reads NAME.dockerignore beside the Dockerfile NAME before .dockerignore."""
    if recipe.ignorefile is None:
        return recipe.dockerfile
    if not recipe.ignorefile.is_file():
        raise BuildFailed(
            f"no image was built: there is no {recipe.ignorefile}",
            hint="write it, or take ignorefile out of fly.toml",
        )
    copy = scratch / "Dockerfile"
    shutil.copy(recipe.dockerfile, copy)
    shutil.copy(recipe.ignorefile, scratch / "Dockerfile.dockerignore")
    return copy


async def _run(command: list[str], env: Mapping[str, str], say: Say) -> int:
    """The exit code, with each line of its output said; killed where it is cut short."""
    async with await anyio.open_process(
        command,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        rest = ""
        if process.stdout is not None:
            async for text in TextReceiveStream(process.stdout, errors="replace"):
                *lines, rest = (rest + text.replace("\r", "\n")).split("\n")
                for line in lines:
                    say(line)
        if rest:
            say(rest)
        return await process.wait()
