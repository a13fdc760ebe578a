from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy.errors import HookFailed, UsageProblem
from deploy.events import Event, Result, RunFinished
from deploy.notify import notifier as module
from deploy.notify import posting
from deploy.notify.notifier import Notifier
from deploy.notify.settings import Hook, Settings, Webhook
from tests.deploy.eventful import EPOCH_S, Entry, Story
from tests.deploy.notify.listening import listening


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_PAUSE_S", 0.0)


def tell(
    settings: Settings,
    directory: Path,
    run: Iterable[tuple[float, Event]],
    environ: dict[str, str] | None = None,
) -> list[str]:
    """The warnings of a run that is told."""
    warnings: list[str] = []
    said = {"PATH": "/usr/bin:/bin"} | (environ or {})
    with Notifier(settings, directory, said, lambda: EPOCH_S, warnings.append) as notifier:
        for at, event in run:
            notifier(at, event)
    return warnings


def ended(result: Result) -> list[Entry]:
    *story, (at, _) = Story().tell()
    return [*story, (at, RunFinished(result=result, exit_code=1, message="so it ended"))]


def test_everybody_is_told_once_at_the_end(tmp_path: Path) -> None:
    with listening() as listener:
        settings = Settings(
            webhooks=(Webhook(listener.address),),
            post_deploy=Hook('echo "$TIDEGATE_RESULT" >> told.txt'),
            metrics="deploy.prom",
            traces=listener.address,
        )
        summary = tmp_path / "summary.md"
        run = Story().tell()
        assert tell(settings, tmp_path, run, {"GITHUB_STEP_SUMMARY": str(summary)}) == []
    assert (tmp_path / "told.txt").read_text() == "done\n"
    assert "tidegate_deploy_exit_code" in (tmp_path / "deploy.prom").read_text()
    assert summary.read_text().startswith("## ")
    webhook, traces = listener.got
    assert json.loads(webhook.body)["result"] == "done"
    assert traces.path == "/v1/traces"


@pytest.mark.parametrize("result", Result)
def test_a_webhook_hears_of_the_ends_that_it_wants(tmp_path: Path, result: Result) -> None:
    wanted = (Result.FAILED, Result.ROLLED_BACK, Result.IN_BETWEEN)
    with listening() as listener:
        settings = Settings(webhooks=(Webhook(listener.address, "slack", wanted),))
        tell(settings, tmp_path, ended(result))
    assert len(listener.got) == (result in wanted)


def test_who_cannot_be_told_is_a_warning_and_the_others_are_told(tmp_path: Path) -> None:
    with listening((500, b"")) as listener:
        settings = Settings(
            webhooks=(Webhook(f"{listener.address}/s3cret"), Webhook("http://127.0.0.1:9/s3cret")),
            post_deploy=Hook("exit 4"),
            metrics="no/such/directory/deploy.prom",
            traces=listener.address,
            github_environment="production",
        )
        warnings = tell(settings, tmp_path, Story().tell(), {"GITHUB_STEP_SUMMARY": "/no/such"})
    assert len(warnings) == 7
    for warning, named in zip(
        warnings,
        ("post-deploy", "metrics", "step summary", "GitHub", "500", "127.0.0.1:9", "traces"),
        strict=True,
    ):
        assert named in warning
        assert "s3cret" not in warning
        assert "the deploy itself is not affected" in warning


def test_a_fault_of_our_own_is_a_warning_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise RuntimeError("a bug, with what may be secret")

    monkeypatch.setattr(module, "render_metrics", broken)
    (warning,) = tell(Settings(metrics="deploy.prom"), tmp_path, Story().tell())
    assert warning == "RuntimeError; the deploy itself is not affected"


def test_an_interruption_leaves_the_rest_untold_and_the_exit_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "render_metrics", interrupted)
    with listening() as listener:
        settings = Settings(metrics="deploy.prom", webhooks=(Webhook(listener.address),))
        (warning,) = tell(settings, tmp_path, Story().tell())
    assert warning.startswith("interrupted")
    assert listener.got == []


def test_a_run_without_an_end_tells_nobody(tmp_path: Path) -> None:
    with listening() as listener:
        tell(Settings(webhooks=(Webhook(listener.address),)), tmp_path, Story().tell()[:-1])
    assert listener.got == []


def test_a_pre_deploy_hook_knows_what_is_deployed_and_lets_it_begin(tmp_path: Path) -> None:
    settings = Settings(pre_deploy=Hook('echo "$TIDEGATE_APP $TIDEGATE_RESULT" > app.txt'))
    assert tell(settings, tmp_path, Story().tell()) == []
    assert (tmp_path / "app.txt").read_text() == "hello \n"


def test_a_pre_deploy_hook_that_fails_says_so_before_any_other_event(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match="exit code 3; nothing was changed") as failure:
        tell(Settings(pre_deploy=Hook("exit 3")), tmp_path, Story().tell()[:1])
    assert failure.value.exit_code == 1
    assert "--no-hooks" in failure.value.hint


@pytest.mark.parametrize(
    ("form", "named"), [("no-such-file.json", "No such file"), ("bad.json", "nothing_such")]
)
def test_a_template_that_cannot_be_used_is_said_before_the_deploy(
    tmp_path: Path, form: str, named: str
) -> None:
    (tmp_path / "bad.json").write_text('{"a": "${nothing_such}"}')
    with pytest.raises(UsageProblem, match=named):
        tell(Settings(webhooks=(Webhook("https://example.com", form),)), tmp_path, [])


def test_calls_are_kept_for_traces_with_why_they_failed(tmp_path: Path) -> None:
    with listening() as listener:
        settings = Settings(traces=listener.address)
        with Notifier(settings, tmp_path, {}, lambda: EPOCH_S, print) as notifier:
            for at, event in Story().tell():
                notifier(at, event)
            with pytest.raises(ValueError, match="lost"), notifier.call("update", "m1"):
                raise ValueError("lost")
    assert b"call update" in listener.got[0].body
    assert b"lost" in listener.got[0].body
