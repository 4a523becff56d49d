"""Run every benchmark and write RESULTS.md: what was found, on which machine. By hand, or by `tox -e bench`.

python bench/all.py [NAME ...]

What people wrote into RESULTS.md below the line `## What bounds it` stays.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measure import machine

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
NOTES = "## What bounds it"
PROGRAMS: dict[str, list[list[str]]] = {
    "burst": [["--jobs", "2000"], ["--jobs", "10000"]],
    "cliff": [[]],
    "listener": [[]],
    "steady": [["--rate", "1000"], ["--rate", "5000"]],
    "append": [["--normal", "0"], ["--normal", "1"]],
    "triggers": [[]],
    "plugins": [[]],
    "replay": [[]],
    "pages": [[]],
    "many_jobs": [[]],
    "imports": [[]],
}
"""The programs of this folder that take their sizes as options, each with the sizes that are asked for."""


def run(program: str, options: list[str]) -> dict[str, Any]:
    """Run one program and return what it found; its sentence is shown at once."""
    command = [sys.executable, str(HERE / f"{program}.py"), *options]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        sys.exit(f"{program} {' '.join(options)} failed:\n{done.stderr}")
    print(f"{lines[-1]} [{time.monotonic() - begun:.0f} s]", flush=True)
    found: dict[str, Any] = json.loads(lines[-2])
    return found


def written(results: list[dict[str, Any]]) -> str:
    """Write the page, without the notes."""
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    parts = ["# What was measured", f"Written by `tox -e bench`, {now}: {facts}. Figures are medians.", ""]
    for result in results:
        figures = {key: value for key, value in result.items() if key not in {"benchmark", "sentence"}}
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in figures.items())
        parts += [f"## {result['benchmark'].capitalize()}", "", result["sentence"], ""]
        parts += [f"```json\n{{\n{lines}\n}}\n```", ""]
    return "\n".join(parts)


def main() -> None:
    """Run the programs that are named, or all, and write the page."""
    wanted = sys.argv[1:] or list(PROGRAMS)
    results = [run(program, options) for program in wanted for options in PROGRAMS[program]]
    kept = RESULTS.read_text(encoding="utf-8").partition(NOTES)[2] if RESULTS.exists() else "\n"
    RESULTS.write_text(f"{written(results)}\n{NOTES}{kept}", encoding="utf-8")


if __name__ == "__main__":
    main()
