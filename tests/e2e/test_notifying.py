"""Others are told of real deploys: webhooks, hooks, traces, metrics and GitHub's action."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.notify.listening import listening
from tests.worlds.outside import BIN, ROOT, SICK, V1, V2, Project, clean_environ, finish, until

TOKEN = "fm2_planted-b4c5d6e7f8a9"  # noqa: S105 - planted to be searched for


def test_everybody_hears_of_a_deploy_and_nobody_gets_the_token(project: Project) -> None:
    with listening() as listener:
        (project.directory / "tidegate.toml").write_text(
            f"""
            [notify]
            metrics = "deploy.prom"
            traces = "{listener.address}"
            [notify.webhook]
            url = "$WEBHOOK"
            form = "slack"
            [hooks]
            pre-deploy = 'env > pre.txt'
            post-deploy = 'env > post.txt; cp "$TIDEGATE_REPORT" told.json'
            """
        )
        done = project.deploy(
            *("-i", V1, "--webhook", f"{listener.address}/plain", "--report", "report.json"),
            WEBHOOK=f"{listener.address}/slack",
            FLY_API_TOKEN=TOKEN,
        )
    assert (done.code, done.err) == (0, "")
    slack, plain, traces = listener.got
    assert (slack.path, plain.path, traces.path) == ("/slack", "/plain", "/v1/traces")
    report = json.loads((project.directory / "report.json").read_text())
    assert json.loads(plain.body) == report
    assert f"{project.app} runs {V1}" in json.loads(slack.body)["text"]
    assert json.loads((project.directory / "told.json").read_text()) == report
    assert "TIDEGATE_RESULT=\n" in (project.directory / "pre.txt").read_text()
    assert "TIDEGATE_RESULT=done\n" in (project.directory / "post.txt").read_text()
    metrics = (project.directory / "deploy.prom").read_text()
    found = {family.name: family.samples[0] for family in text_string_to_metric_families(metrics)}
    assert found["tidegate_deploy_exit_code"].value == 0
    (resource,) = ExportTraceServiceRequest.FromString(traces.body).resource_spans
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert names[0] == "deploy deploy"
    assert {"pass", "machine", "call create", "call list"} <= set(names)
    told = b"".join([*(got.body + str(got.headers).encode() for got in listener.got)])
    written = b"".join(p.read_bytes() for p in project.directory.iterdir() if p.is_file())
    assert TOKEN.encode() not in told + written


def test_a_pre_deploy_hook_that_fails_stops_before_anything_changes(project: Project) -> None:
    project.must("-i", V1)
    before = project.versions()
    with listening() as listener:
        (project.directory / "tidegate.toml").write_text(
            "[hooks]\npre-deploy = 'echo not today; exit 3'\npost-deploy = 'touch after'\n"
        )
        done = project.deploy("-i", V2, "--webhook", listener.address)
        forced = project.deploy("-i", V2, "--no-hooks")
    assert done.code == 1
    assert "failed: the pre-deploy hook ended with exit code 3; nothing was changed" in done.err
    assert "not today" in done.err
    assert "not today" not in done.out
    assert json.loads(listener.got[0].body)["result"] == "failed"
    assert (project.directory / "after").exists()
    assert forced.code == 0
    assert project.versions() != before


def test_a_signal_ends_a_pre_deploy_hook_and_nothing_is_changed(project: Project) -> None:
    (project.directory / "tidegate.toml").write_text(
        "[hooks]\npre-deploy = 'echo $$ > pid; exec sleep 600'\n"
    )
    under_way = project.begin("-i", V1)
    pid = project.directory / "pid"
    until("the hook runs", lambda: pid.is_file() and bool(pid.read_text().strip()))
    under_way.send_signal(signal.SIGTERM)
    assert finish(under_way).code == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert project.app not in [app["name"] for app in project.get("/v1/apps")["apps"]]


def test_who_does_not_answer_changes_neither_the_end_nor_the_output(project: Project) -> None:
    (project.directory / "tidegate.toml").write_text(
        """
        [notify]
        metrics = "no/such/directory/x"
        traces = "http://127.0.0.1:9/s3cret"
        [notify.webhook]
        url = "http://127.0.0.1:9/s3cret"
        [hooks]
        post-deploy = "sleep 60"
        timeout = 0.2
        """
    )
    done = project.deploy("-i", V1, "--output", "json")
    assert done.code == 0
    assert done.report["result"] == "done"
    assert len(done.err.splitlines()) == 4
    assert "s3cret" not in done.err


def test_a_run_that_fails_is_told_with_its_end(project: Project) -> None:
    project.must("-i", V1)
    with listening() as listener:
        words = ("-i", SICK, "--deploy-retries", "1", "--wait-timeout", "2s")
        done = project.deploy(*words, DEPLOY_WEBHOOK=listener.address)
    assert done.code == 1
    told = json.loads(listener.got[0].body)
    assert (told["result"], told["exit_code"]) == ("rolled-back", 1)


def test_a_file_that_makes_no_sense_is_refused_before_anything_is_sent(project: Project) -> None:
    (project.directory / "tidegate.toml").write_text("[notify]\nwebhok = 'x'")
    done = project.deploy("-i", V1)
    assert done.code == 2
    assert "webhok" in done.err
    assert project.app not in [app["name"] for app in project.get("/v1/apps")["apps"]]


# -- action.yml --------------------------------------------------------------------------

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())


def act(
    project: Project, *, around: dict[str, str] | None = None, **inputs: str
) -> tuple[int, str, dict[str, str]]:
    """The run step of the action as a runner runs it: (exit code, output, its outputs)."""
    (step,) = [step for step in ACTION["runs"]["steps"] if step["id"] == "run"]
    known = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()}
    values = {f"inputs.{name}": value for name, value in (known | inputs).items()}
    values["steps.install.outputs.deploy"] = str(BIN / "deploy")
    temp = project.directory / "runner"
    temp.mkdir(exist_ok=True)
    outputs = temp / "outputs"
    environ = {name: _filled(text, values) for name, text in step["env"].items()}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=project.directory,
        env=clean_environ(project.directory)
        | project.steering
        | environ
        | {
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(temp / "summary.md"),
            "RUNNER_TEMP": str(temp),
            "FLY_APP": "" if inputs.get("app") else project.app,
        }
        | (around or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line.partition("=") for line in outputs.read_text().splitlines()]
    return done.returncode, done.stdout + done.stderr, {key: value for key, _, value in lines}


def _filled(text: str, values: dict[str, str]) -> str:
    name = text.removeprefix("${{ ").removesuffix(" }}")
    return values[name] if text.startswith("${{ inputs.") or name in values else text


def test_the_action_deploys_with_outputs_and_a_summary(project: Project) -> None:
    code, told, outputs = act(project, image=V1, args="--env 'A=two words' --env B=$(touch pwned)")
    assert code == 2, told  # what `args` holds is words and never run: a word is left over
    assert not (project.directory / "pwned").exists()

    code, told, outputs = act(project, image=V1, app=project.app, args="--env 'A=two words'")
    assert code == 0, told
    assert outputs["result"] == "done"
    assert outputs["exit-code"] == "0"
    assert json.loads(Path(outputs["report"]).read_text())["image"] == V1
    assert "::group::pass 1 of" in told
    assert {machine["config"]["env"]["A"] for machine in project.machines()} == {"two words"}
    summary = (project.directory / "runner" / "summary.md").read_text()
    assert summary.startswith("## ✅ deploy")


def test_the_action_records_a_deployment_where_the_token_allows_it(project: Project) -> None:
    with listening((201, b'{"id": 7}'), (201, b"{}"), (403, b"{}")) as github:
        around = {
            "GITHUB_API_URL": github.address,
            "GITHUB_REPOSITORY": "owner/hello",
            "GITHUB_SHA": "0" * 40,
        }
        words = {"image": V1, "environment": "production", "token": "ghs_planted0123"}
        code, told, _ = act(project, around=around, **words)
        assert (code, "warning" in told) == (0, False), told
        code, told, _ = act(project, around=around, **words)
    assert code == 0
    assert "the token needs `deployments: write`" in told
    assert "ghs_planted0123" not in told
    _, status, _ = github.got
    assert status.path == "/repos/owner/hello/deployments/7/statuses"
    assert json.loads(status.body)["state"] == "success"


def test_the_action_fails_as_the_deploy_does(project: Project) -> None:
    project.must("-i", V1)
    words = "--deploy-retries 1 --wait-timeout 2s"
    code, _, outputs = act(project, image=SICK, args=words)
    assert (code, outputs["exit-code"], outputs["result"]) == (1, "1", "rolled-back")


def test_the_action_installs_what_it_was_taken_from_at_pinned_versions() -> None:
    (step,) = [step for step in ACTION["runs"]["steps"] if step["id"] == "install"]
    assert '-c "$GITHUB_ACTION_PATH/constraints.txt" "$GITHUB_ACTION_PATH"' in step["run"]
