"""The settings of a worker: [plugins.celery] of a config file, or a few environment variables.

A worker reads no log, so the sections of the other plugins are left alone: the secrets that they refer to need not be
on its machine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from gnomon.conversion import convert
from gnomon.deployment.config import load_config
from gnomon.deployment.file_checks import python_folders
from gnomon.errors import ConfigError
from gnomon_celery.config import CeleryConfig

SECTION = "celery"
PREFIX = "GNOMON_CELERY_"


def read_worker_config(path: Path, environ: Mapping[str, str]) -> CeleryConfig:
    """Return the section [plugins.celery] of a config; its `python_path` is added to that of this process."""
    config = load_config(path, environ, for_runs=False, only_plugin=SECTION)
    if SECTION not in config.sections:
        raise ConfigError([f"{path}: has no section [plugins.celery], which says where the broker of the workers is"])
    settings = convert(config.sections[SECTION], CeleryConfig, "plugins.celery", config.directory)
    # Also those that are in it: Celery adds its working directory while it loads the application, and then removes it.
    sys.path[:0] = [str(folder) for folder in python_folders(config)]
    return settings


def worker_config_of_environment(environ: Mapping[str, str]) -> CeleryConfig:
    """Return the settings for `celery -A gnomon_celery.worker`: of $GNOMON_CONFIG, or of GNOMON_CELERY_BROKER etc."""
    own = {
        name: environ[f"{PREFIX}{name.upper()}"]
        for name in CeleryConfig.__struct_fields__
        if f"{PREFIX}{name.upper()}" in environ
    }
    if "broker" in own:
        return convert(own, CeleryConfig, "the environment")
    if named := environ.get("GNOMON_CONFIG"):
        return read_worker_config(Path(named), environ)
    problem = (
        f"{PREFIX}BROKER is not set, and neither is GNOMON_CONFIG: a worker needs the URL of the broker, such as "
        "redis://localhost:6379/0, and that of the Redis of the channel where the broker is another server, or a "
        "config file with [plugins.celery]"
    )
    raise ConfigError([problem])
