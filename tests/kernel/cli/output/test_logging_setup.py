"""Log lines on stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


@pytest.mark.parametrize(
    ("style", "due", "took"),
    [
        ("console", "due='2026-12-01 10:00 UTC'", "took='86 ms'"),
        ("logfmt", "due=2026-12-01T10:00:00Z", "took_s=0.086"),
        ("json", '"due": "2026-12-01T10:00:00Z"', '"took_s": 0.086'),
    ],
)
def test_each_log_format_writes_times_and_durations_in_its_own_way(style: str, due: str, took: str) -> None:
    code = (
        "from datetime import UTC, datetime; import structlog\n"
        "from gnomon.cli.output.logging_setup import configure_logging\n"
        f"configure_logging('info', {style!r})\n"
        "structlog.stdlib.get_logger('x').info('missed', due=datetime(2026, 12, 1, 10, tzinfo=UTC), took_s=0.086)"
    )
    environment = os.environ | {"TZ": "UTC"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environment
    )

    assert due in done.stderr
    assert took in done.stderr


@pytest.mark.parametrize("logger", ["logging.getLogger('acme')", "structlog.stdlib.get_logger('acme')"])
def test_a_log_line_names_the_plugin_that_logged_it(logger: str) -> None:
    code = (
        "import logging, threading, structlog; from gnomon.cli.output.logging_setup import configure_logging\n"
        "from gnomon.threads import thread_of\n"
        "configure_logging('info', 'logfmt')\n"
        f"write = {logger}.warning\n"
        "thread = threading.Thread(target=write, args=('the server is away',), name=thread_of('pager'))\n"
        "thread.start(); thread.join(); write('here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    with_plugin, without = done.stderr.splitlines()
    assert 'event="the server is away" plugin=pager' in with_plugin
    assert "plugin" not in without


@pytest.mark.parametrize(
    "reconfigure",
    [
        "logging.basicConfig(force=True, handlers=[logging.NullHandler()])",
        "logging.shutdown()",
        "logging.getLogger().handlers.clear()",
        "logging.disable()",
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'CRITICAL'}})",
        "structlog.configure(processors=[drop])",
    ],
)
def test_the_lines_of_the_kernel_stay_whatever_a_body_configures(reconfigure: str) -> None:
    code = (
        "import logging.config, structlog\n"
        "from gnomon.cli.output.logging_setup import configure_logging, keep_kernel_output\n"
        "from gnomon.logs import get_logger\n"
        "def drop(*_): raise structlog.DropEvent\n"
        "configure_logging('info', 'logfmt'); keep_kernel_output()\n"
        "logging.getLogger('gnomon.kernel'); get_logger('gnomon.kernel').info('before')\n"
        f"{reconfigure}\n"
        "get_logger('gnomon.kernel').info('after', number=1); get_logger('gnomon.kernel').debug('too small')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    before, after = done.stderr.splitlines()
    assert "event=before" in before
    assert "event=after number=1" in after
