"""Schemathesis calls everything in the OpenAPI document: every answer must be a described one."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("schemathesis")
# Left out: positive_data_acceptance, for which every text that could be a cursor or arguments would have to be one.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,ignored_auth"
)


async def tick(x: int = 1) -> int:
    return x


async def fuzz(url: str, folder: Path, *options: str) -> None:
    program = str(PROGRAM) if PROGRAM.exists() else shutil.which("schemathesis")
    assert program, "schemathesis belongs to the test dependencies"
    steady = ["--seed", "7", "--no-color", "--request-timeout", "60", "--suppress-health-check", "too_slow"]
    command = [program, "run", f"{url}/openapi.json", "--checks", CHECKS, *steady, *options]
    run = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, capture_output=True, text=True, timeout=580, check=False
    )

    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert re.search(r"\b[1-9]\d* generated", run.stdout)


@pytest.mark.timeout(600)  # it takes about 20 s on a machine that does nothing else
async def test_every_answer_is_as_documented(serve: Any, tmp_path: Path) -> None:
    async with serve(tick) as ask:
        await ask.kernel.wait((await ask.kernel.trigger("tick")).execution.id)
        await fuzz(ask.web.url, tmp_path, "--max-examples", "2", "--phases", "coverage,fuzzing")


@pytest.mark.timeout(600)  # it takes about 20 s on a machine that does nothing else
async def test_every_answer_is_as_documented_where_a_token_is_needed(
    serve: Any, secrets: dict[str, str], tmp_path: Path
) -> None:
    async with serve(tick, guarded=True, envelope=True, base_path="/api", failed_logins=100_000) as ask:
        token = f"Authorization: Bearer {secrets['admin']}"
        await fuzz(ask.web.url, tmp_path, "--max-examples", "2", "--phases", "fuzzing,stateful", "--header", token)
