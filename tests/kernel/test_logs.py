"""An embedded kernel neither configures the logging of its program nor prints."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

EMBEDDED = """
import asyncio, logging, sys
import structlog
{before}

from gnomon import Job, Kernel

async def fails():
    raise ValueError("boom")

async def main():
    async with Kernel(jobs=[Job(id="j", func=fails)]) as kernel:
        triggered = await kernel.trigger("j")
        await kernel.wait(triggered.execution.id)

asyncio.run(main())
assert structlog.is_configured() == {is_configured}
assert len(logging.getLogger().handlers) == {handlers}
assert logging.getLogger().level == logging.WARNING or {handlers}
"""


def run(tmp_path: Path, before: str = "", *, is_configured: bool = False, handlers: int = 0) -> tuple[str, str]:
    path = tmp_path / "program.py"
    path.write_text(EMBEDDED.format(before=before, is_configured=is_configured, handlers=handlers))
    done = subprocess.run(
        [sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_program_without_logging_sees_the_failure_as_of_any_library_and_nothing_else(tmp_path: Path) -> None:
    out, err = run(tmp_path)

    assert out == ""
    assert err.startswith("job j failed: ValueError: boom (run ")
    assert err.rstrip().endswith("ValueError: boom")
    assert "kernel started" not in err


def test_a_program_that_silences_the_logger_sees_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "logging.getLogger('gnomon').addHandler(logging.NullHandler())") == ("", "")


def test_a_program_with_logging_gets_the_lines_of_the_kernel_with_their_facts(tmp_path: Path) -> None:
    before = "logging.basicConfig(level='INFO', format='%(levelname)s %(name)s %(filename)s %(message)s')"
    out, err = run(tmp_path, before, handlers=1)

    assert out == ""
    assert "INFO gnomon.kernel leader.py kernel started node=" in err
    assert "ERROR gnomon.jobs (job) job j failed: ValueError: boom" in err
    assert err.count("Traceback (most recent call last)") == 1


def test_a_program_with_structlog_gets_the_lines_of_the_kernel_through_it(tmp_path: Path) -> None:
    before = "structlog.configure(processors=[structlog.processors.JSONRenderer()])"
    out, _ = run(tmp_path, before, is_configured=True)

    assert '"event": "kernel started"' in out


def test_a_fact_that_cannot_be_written_breaks_no_line(caplog: pytest.LogCaptureFixture) -> None:
    from gnomon.logs import PlainLogger

    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    caplog.set_level(logging.INFO)
    PlainLogger("gnomon.test").info("a line", word="x", text="two words", number=3, broken=Broken(), empty="")

    assert caplog.messages[0].startswith("a line word=x text='two words' number=3 broken=")
    assert caplog.messages[0].endswith("empty=''")


@pytest.mark.parametrize("configured", ["", "structlog.configure(processors=[structlog.processors.JSONRenderer()])"])
def test_long_facts_are_shortened_wherever_they_go(tmp_path: Path, configured: str) -> None:
    program = f"""
import logging, structlog
logging.basicConfig(level="INFO", format="%(message)s")
{configured}
from gnomon.logs import get_logger, write_record
long = "a" * 100_000
get_logger("gnomon.test").info("a line", job=long, jobs=[long], runs={{long: 1}}, exception="t" * 10_000, known="short")
write_record("gnomon.test", 40, f"job {{long}} failed", exc=None, traceback=None, facts={{"job_id": long}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    said = done.stdout + done.stderr
    letters, is_traced, is_short = said.count("a"), "t" * 10_000 in said, "short" in said
    assert (letters < 15_000, is_traced, is_short) == (True, True, True)
