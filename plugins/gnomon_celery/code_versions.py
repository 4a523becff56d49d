"""The versions of the code that a worker runs, so that one with old code can be found."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version


@lru_cache(maxsize=1024)
def code_version(func: str) -> str | None:
    """Return the distribution and version that a function belongs to, "reports 1.4.2"; None for a module without one.

    The module is not imported.
    """
    package = func.partition(":")[0].partition(".")[0]
    distributions = _distributions().get(package)
    return f"{distributions[0]} {version(distributions[0])}" if distributions else None


@lru_cache(maxsize=1)
def worker_versions() -> dict[str, str]:
    """Return the versions of what every worker has."""
    found = {"python": platform.python_version()}
    for name in ("gnomon", "celery"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a checkout that is not installed
            found[name] = "unknown"
    return found


@lru_cache(maxsize=1)
def _distributions() -> dict[str, list[str]]:
    # Reads the file list of every distribution in about 100 ms; a pool's parent has called this before it forks.
    return {package: list(names) for package, names in packages_distributions().items()}
