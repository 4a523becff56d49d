import importlib

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # Where gnomon is installed, pytest has found the fixtures by their entry point.
    plugin = importlib.import_module("gnomon.testing.pytest_plugin")
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin)
