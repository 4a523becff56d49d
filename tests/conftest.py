import importlib
import signal
from collections.abc import Generator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# However slow the machine is, no example has taken too long. And the same examples each time: a run of all tests says
# something about what was changed. `--hypothesis-profile search` looks elsewhere each time.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("search"), derandomize=True)
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    # Where gnomon is installed, pytest has found the fixtures by their entry point.
    plugin = importlib.import_module("gnomon.testing.pytest_plugin")
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin)
    # A shell that starts a run in the background lets it, and what it starts, ignore Ctrl-C: tests of it would hang.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share out tests one by one, except where one process saves or sums up what several would each make again.

    The tests of the dashboard sum up the coverage of its pages; fixtures of a file may be environments and workers.
    """
    # pytest-xdist 3.8 has marks for groups, which pytest 9.2 ignores: the id of a test is read-only since then.
    loadscope = importlib.import_module("xdist.scheduler.loadscope")

    @cache
    def has_fixtures_of_its_own(path: str) -> bool:
        return '(scope="module"' in (config.rootpath / path).read_text(encoding="utf-8")

    class SharedInOneProcess(loadscope.LoadScopeScheduling):  # type: ignore[name-defined,misc]
        def _split_scope(self, nodeid: str) -> str:
            folder, path = "tests/plugins/dashboard/", nodeid.partition("::")[0]
            if nodeid.startswith(folder):
                return folder
            return path if has_fixtures_of_its_own(path) else nodeid

    return SharedInOneProcess(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates in a report: tests print them, and pytest-xdist cannot send them to its other process."""
    return _writable((yield))


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_writable(key): _writable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_writable, value))
    return value


@pytest.fixture(autouse=True)
def kernels_have_a_minute_to_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine ten seconds may pass before a plugin's thread has its turn; what hangs sets a limit itself."""
    monkeypatch.setattr("gnomon.engine.leader.FLUSH_LIMIT_S", 60.0)
