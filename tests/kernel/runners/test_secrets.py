"""Secrets among the arguments of a job: references in the log, values in the body, `***` in everything that is kept."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon import Duration, Execution, Job, JobError, Kernel, Retry, Secret, SecretReference
from gnomon.clock import SystemClock
from gnomon.domain import codec
from gnomon.testing.kernels import RecordingStore, make_kernel

BODIES = Path(__file__).parents[2] / "fixtures" / "bodies"
VALUE = "s3cret-Value/42"
REFERENCE = {"$secret": {"env": "APP_TOKEN"}}
RUNNERS = ("thread", "process")


@pytest.fixture(autouse=True)
def bodies_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BODIES))


@pytest.fixture(autouse=True)
def the_secret_is_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("APP_TOKEN", VALUE)
    logging.getLogger("app").setLevel(logging.INFO)
    yield
    logging.getLogger("app").setLevel(logging.NOTSET)


def secret_job(body: str, runner: str = "thread", **keys: Any) -> Job:
    keys = {"kwargs": {"token": SecretReference(env="APP_TOKEN")}} | keys
    return Job(id=body, func=f"secret_bodies:{body}", runner=runner, **keys)


async def run(job: Job, **kwargs: Any) -> tuple[Execution, str]:
    """Run a job once; return the execution and everything that was recorded about it, as one text."""
    store = RecordingStore()
    async with make_kernel(job, store=store, clock=SystemClock()) as kernel:
        triggered = await kernel.trigger(job.id, kwargs=kwargs)
        execution = await kernel.wait(triggered.execution.id)
        lines = await kernel.log(execution.id)
        views = [msgspec.to_builtins(view.job.definition()) for view in await kernel.jobs()]
    recorded = [*map(codec.encode, store.recorded), msgspec.json.encode([execution, lines, views])]
    return execution, b"\n".join(recorded).decode()


@pytest.mark.parametrize("runner", RUNNERS)
async def test_a_body_receives_secrets_and_the_log_has_references(runner: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\n", encoding="utf-8")
    login = {"password": SecretReference(file=str(tmp_path / "password")), "user": "anna"}
    kwargs = {"token": SecretReference(env="APP_TOKEN"), "login": login}

    execution, recorded = await run(secret_job("take", runner, kwargs=kwargs))

    received = str({"password": "from a file", "user": "anna"})
    assert execution.return_value == {"token": len(VALUE), "login": len(received), "rest": 0, "more": 0}
    assert execution.kwargs["token"] == REFERENCE
    assert execution.kwargs["login"]["password"] == {"$secret": {"file": str(tmp_path / "password")}}
    assert VALUE not in recorded
    assert "from a file" not in recorded


@pytest.mark.parametrize("runner", RUNNERS)
async def test_positional_arguments_may_be_secrets(runner: str) -> None:
    job = secret_job(
        "take", runner, args=[SecretReference(env="APP_TOKEN"), [SecretReference(env="APP_TOKEN")]], kwargs={}
    )

    execution, recorded = await run(job)

    assert execution.return_value == {"token": len(VALUE), "login": len(str([VALUE])), "rest": 0, "more": 0}
    assert VALUE not in recorded


@pytest.mark.parametrize(("body", "runner"), [("show", "thread"), ("show", "process"), ("show_async", "async")])
async def test_a_secret_is_masked_in_results_progress_and_log_lines(body: str, runner: str) -> None:
    execution, recorded = await run(secret_job(body, runner))

    assert execution.return_value == {"***": ["***", {"text": "<***>", "base64": "***"}]}
    assert "logged ***" in recorded
    assert "step ***" in recorded
    assert "message ***" in recorded
    assert VALUE not in recorded
    if runner == "process":
        assert "printed ***" in recorded
        assert "complained ***" in recorded


@pytest.mark.parametrize("runner", RUNNERS)
async def test_a_secret_is_masked_in_errors_and_tracebacks(runner: str) -> None:
    execution, recorded = await run(secret_job("fail", runner))

    assert execution.status == "failed"
    assert execution.error_message == "'***'"
    assert "ValueError: wrong token ***" in (execution.traceback or "")
    assert VALUE not in recorded


async def test_a_secret_is_masked_in_the_last_lines_of_a_process() -> None:
    execution, recorded = await run(secret_job("die", "process"))

    assert "dying with ***" in (execution.error_message or "")
    assert VALUE not in recorded


async def test_a_secret_is_masked_in_the_repr_of_a_result() -> None:
    execution, _ = await run(secret_job("return_object"))

    assert execution.return_value == "Login(***)"


async def test_a_key_of_several_lines_is_masked_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_TOKEN", "first line of it\nsecond line of it")

    _, recorded = await run(secret_job("show", "process"))

    assert "first line" not in recorded
    assert "second line" not in recorded


@pytest.mark.parametrize("runner", RUNNERS)
async def test_a_body_may_hide_a_secret_of_its_own(runner: str) -> None:
    execution, recorded = await run(secret_job("hide_own", runner, kwargs={}))

    assert execution.return_value == "***"
    assert "obtained elsewhere" not in recorded


async def test_a_short_secret_is_not_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_TOKEN", "step")  # it would hide parts of ordinary words

    execution, _ = await run(secret_job("return_object"))

    assert execution.return_value == "Login(step)"


@pytest.mark.parametrize("runner", RUNNERS)
async def test_a_secret_that_cannot_be_read_fails_the_run(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APP_TOKEN")
    monkeypatch.setenv("OTHER", "another value")
    kwargs = {
        "token": SecretReference(env="APP_TOKEN"),
        "login": [SecretReference(env="OTHER"), SecretReference(file="/nowhere/token")],
    }

    execution, recorded = await run(secret_job("take", runner, kwargs=kwargs))

    assert execution.status == "failed"
    assert execution.error_type == "gnomon.errors.SecretError"
    assert execution.error_message == (
        "the secrets of this run cannot be read: kwargs.token: the environment variable APP_TOKEN is not set; "
        "kwargs.login[1]: /nowhere/token cannot be read: No such file or directory"
    )
    assert "another value" not in recorded


async def test_a_retry_reads_the_secret_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first", encoding="utf-8")
    seen: list[str] = []

    def body(token: str) -> None:
        seen.append(token)
        path.write_text("second", encoding="utf-8")
        if len(seen) == 1:
            raise ConnectionError

    job = Job(
        id="rotating",
        func=body,
        kwargs={"token": SecretReference(file=str(path))},
        retry=Retry(attempts=2, delay=Duration(0)),
    )
    async with make_kernel(job, clock=SystemClock()) as kernel:
        first = await kernel.wait((await kernel.trigger("rotating")).execution.id)
        await _wait_for_retry(kernel, first)

    assert seen == ["first", "second"]


async def _wait_for_retry(kernel: Kernel, failed: Execution) -> None:
    from gnomon import ExecutionQuery

    page = await kernel.executions(ExecutionQuery(job_id=failed.job_id))
    (retry,) = [execution for execution in page.items if execution.retry_of == failed.id]
    await kernel.wait(retry.id)


# --- commands cannot refer to secrets ---


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    "given",
    [
        {"env": "APP_TOKEN"},
        {"file": "/etc/passwd"},
        {"$secret": {"env": "APP_TOKEN"}},
        {"$$secret": {"env": "APP_TOKEN"}},
        {"$secret": {"$secret": {"env": "APP_TOKEN"}}},
        [{"deep": [{"$secret": {"env": "APP_TOKEN"}}]}],
    ],
)
async def test_an_argument_of_a_command_reaches_the_body_as_it_is(runner: str, given: Any) -> None:
    job = Job(id="take", func="secret_bodies:take", runner=runner)

    execution, _ = await run(job, login=given)

    assert execution.status == "success", execution.error_message
    assert execution.return_value["login"] == len(str(given))


async def test_a_command_may_repeat_the_reference_of_the_job() -> None:
    execution, recorded = await run(secret_job("take"), token=REFERENCE)

    assert execution.return_value["token"] == len(VALUE)
    assert VALUE not in recorded


async def test_a_command_cannot_move_the_reference_of_a_job() -> None:
    execution, _ = await run(secret_job("take"), login=REFERENCE)

    assert execution.return_value["login"] == len(str(REFERENCE))


async def test_a_command_replaces_a_reference_by_a_plain_value() -> None:
    execution, _ = await run(secret_job("take"), token="mine")

    assert execution.return_value["token"] == len("mine")


# --- definitions ---


def test_a_secret_in_a_definition_is_refused() -> None:
    with pytest.raises(JobError, match=r"job 'take': kwargs\.login\[0\] is a Secret, which the log would keep"):
        secret_job("take", kwargs={"login": [Secret("plain")]})


async def test_a_secret_of_the_code_is_masked_in_results() -> None:
    def body() -> Any:
        return {"login": Secret("not for the log"), "text": f"{Secret('not for the log')}"}

    execution, _ = await run(Job(id="body", func=body))

    assert execution.return_value == {"login": "***", "text": "***"}


def test_a_reference_needs_one_source() -> None:
    with pytest.raises(ValueError, match="exactly one of env and file, got 2"):
        SecretReference(env="A", file="b")
