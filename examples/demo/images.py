"""The story with real images: `scripts/demo --images`.

The image is built on the spot from a static busybox and a script, so that nothing is
downloaded; its machines are containers of the Docker engine on this computer. Without
an engine, or a busybox, there is nothing to tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.text import Text

from examples.demo import traffic
from examples.demo.stage import Stage

_DOCKERFILE = """\
FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/busybox
COPY serve /serve
CMD ["/bin/sh", "/serve"]
"""
_SERVE = """\
/bin/busybox mkdir /www
echo "image $FLY_IMAGE_REF machine $FLY_MACHINE_ID, {word}" > /www/index.html
exec /bin/busybox httpd -f -p 8080 -h /www
"""
_FLY_TOML = """\
app = "hello"
kill_timeout = 5

[build]
  dockerfile = "Dockerfile"

[deploy]
  wait_timeout = "20s"

[http_service]
  internal_port = 8080

  [[http_service.checks]]
    path = "/"
    grace_period = "50ms"
    interval = "250ms"
    timeout = "2s"
"""
_DEPLOY = "deploy --no-push --min-healthy 1s --flags flags.yaml"


def missing() -> str:
    """What the story needs and is not here; empty where it can be told."""
    docker, busybox = shutil.which("docker"), shutil.which("busybox")
    if docker is None:
        return "there is no docker: install Docker to see the story with real images"
    if subprocess.run([docker, "info"], capture_output=True, check=False).returncode:  # noqa: S603 - asks only
        return "no Docker engine answers: start it to see the story with real images"
    if busybox is None or b"ld-linux" in Path(busybox).read_bytes()[:4096]:
        return "there is no static busybox to make an image of: apt-get install busybox-static"
    return ""


def tell(console: Console, *, hiccups: str, seed: int, machines: int) -> None:
    """The whole story; raises Broken where a sentence of it is not true."""
    console.print(Text("The same deploy with real images", style="bold"))
    with tempfile.TemporaryDirectory(prefix="tidegate-demo-") as name:
        directory = Path(name).resolve()
        stage = _set_up(directory, console)
        stage.heading("1. hello is built and runs as containers")
        with stage.platform(f"--runtime docker --hiccups {hiccups} --seed {seed}"):
            first = _first(stage, machines)
            _second(stage, first, machines)
        left = _left(directory)
        stage.claim("and no container of it is left in the engine", not left, left)


def _first(stage: Stage, machines: int) -> str:
    """The image that runs in the end."""
    stage.must(_DEPLOY)
    stage.must(f"deploy scale app={machines} --flags flags.yaml")
    running = stage.machines_by_image()
    stage.claim(
        f"{machines} containers run the image that was built, all checks passing",
        list(running.values()) == [machines],
        running,
    )
    return next(iter(running))


def _second(stage: Stage, first: str, machines: int) -> None:
    stage.heading("2. Its script is changed: built again, and deployed under traffic and hiccups")
    (stage.directory / "serve").write_text(_SERVE.format(word="changed"))
    with traffic.steady(*stage.router()) as tally:
        code, report = stage.deploy(f"{_DEPLOY} --deploy-retries 5", "changed")
        running = stage.machines_by_image()
    new = report["image"]
    stage.claim(
        f"it met {report['hiccups_met']} hiccups and got over them",
        report["hiccups_mended"] == report["hiccups_met"] > 0,
        report["message"],
    )
    arrived = (code, running) == (0, Counter({new: machines})) and new != first
    stage.claim("it ended wholly on the new image, exit code 0", arrived, (code, running))
    stage.claim(
        f"{tally.sent} requests were sent meanwhile, none failed",
        tally.sent > 0 == tally.failed,
        tally.first_failure,
    )
    both = {first, new} == set(tally.by_image)
    stage.claim("they were answered by the old image, then by the new", both, tally.by_image)
    stage.heading("3. The same once more: what is built has the same digest")
    code, report = stage.deploy(_DEPLOY, "again")
    unchanged = (code, report["result"], report["image"]) == (0, "unchanged", new)
    stage.claim("an unchanged image is an unchanged app", unchanged, report["message"])


def _set_up(directory: Path, console: Console) -> Stage:
    busybox = shutil.which("busybox") or ""
    shutil.copy(busybox, directory / "busybox")
    shutil.copy(Path(__file__).parents[2] / "flags.yaml", directory)
    for name, text in (("Dockerfile", _DOCKERFILE), ("fly.toml", _FLY_TOML)):
        (directory / name).write_text(text)
    (directory / "serve").write_text(_SERVE.format(word="at first"))
    return Stage(directory, console)


def _left(directory: Path) -> list[str]:
    """Containers of platforms that kept their files in the stage's directory."""
    label = '{{.ID}} {{.Label "tidegate.platform"}}'
    command = [shutil.which("docker") or "docker", "ps", "--all", "--format", label]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)  # noqa: S603 - asks only
    return [line for line in listed.stdout.splitlines() if str(directory) in line]
