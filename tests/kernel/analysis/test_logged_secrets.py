"""Secrets in plain text that a log holds are found without showing them."""

from typing import Any

import msgspec
import pytest

from gnomon import Job, SecretReference
from gnomon.analysis.logged_secrets import REPLACED, LoggedSecret, LoggedSecrets
from gnomon.testing.kernels import RecordingStore, make_kernel


async def body(**_: Any) -> None: ...


def job(**kwargs: Any) -> Job:
    return Job(id="sync", func=body, kwargs=kwargs)


async def log_of(*definitions: Job, **kwargs: Any) -> RecordingStore:
    """Run a kernel with each definition after the other; every kernel runs the job once."""
    store = RecordingStore()
    for definition in definitions:
        async with make_kernel(definition, store=store) as kernel:
            await kernel.wait((await kernel.trigger("sync", kwargs=kwargs)).execution.id)
    return store


def found_in(store: RecordingStore, *present: Job) -> list[LoggedSecret]:
    found = LoggedSecrets({job.id: job.definition() for job in present})
    found.add(store.recorded)
    return found.listed()


async def test_what_is_a_reference_now_was_plain_before() -> None:
    old = job(code="x1", nested=[{"pin": "1234"}, "plain"])
    new = job(code=SecretReference(env="CODE"), nested=[{"pin": SecretReference(env="PIN")}, "plain"])
    store = await log_of(old)

    code, pin = found_in(store, new)

    assert (code.job_id, code.place, code.reason, code.events) == ("sync", "kwargs.code", REPLACED, 2)
    assert (pin.place, pin.reason, pin.events) == ("kwargs.nested[0].pin", REPLACED, 2)
    assert 0 < code.first_position < code.last_position
    assert b"1234" not in msgspec.json.encode([code, pin])


async def test_what_looks_like_a_secret_is_found_in_definitions_and_commands() -> None:
    store = await log_of(job(password="x"), token="y")

    assert [(found.place, found.events) for found in found_in(store)] == [("kwargs.password", 2), ("kwargs.token", 1)]


async def test_a_log_with_references_has_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "a value")
    present = job(token=SecretReference(env="TOKEN"), market="cn")

    assert found_in(await log_of(present), present) == []
