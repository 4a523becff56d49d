"""The check of files that decide which code a kernel runs: the config, and the folders of its functions."""

from __future__ import annotations

import os
from pathlib import Path

from gnomon.deployment.config import Config
from gnomon.files import other_writers


def check_writers(config: Config, problems: list[str], warnings: list[str]) -> None:
    """Add a warning, or for root a problem, for each file and folder with which another user could run code.

    Root runs nothing that others can change: they would become root.
    """
    found = problems if os.geteuid() == 0 else warnings
    places = {f"kernel.python_path: {folder!r}": config.directory / folder for folder in config.kernel.python_path}
    if config.source is not None:
        places = {"the config": config.source} | places
    for name, place in places.items():
        if problem := other_writers(Path(place).expanduser()):
            found.append(f"{name}: {problem}, who could run code as the user of this kernel: chmod go-w")
