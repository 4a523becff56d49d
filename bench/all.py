"""Run the benchmarks and write RESULTS.md: the machine, the results and the bottlenecks. Also run by `tox -e bench`.

python bench/all.py [NAME ...]

Results of benchmarks that are not run are kept, and so are the notes below the line `## Bottlenecks`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measure import machine

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
NOTES = "## Bottlenecks"
PROGRAMS: dict[str, list[list[str]]] = {
    "burst": [["--jobs", "2000"], ["--jobs", "10000"]],
    "cliff": [[]],
    "listener": [[]],
    "steady": [["--rate", "1000"], ["--rate", "5000"]],
    "append": [["--normal", "0"], ["--normal", "1"]],
    "mongo_append": [[]],
    "postgres_append": [[]],
    "postgres_lists": [[]],
    "postgres_partitions": [[]],
    "postgres_retention": [[]],
    "triggers": [[]],
    "work_queue": [[], ["--callers", "500"]],
    "plugins": [[]],
    "replay": [[]],
    "pages": [[]],
    "timeline": [[], ["--jobs", "5000"]],
    "folds": [[]],
    "dashboard": [[]],
    "live_page": [[]],
    "many_jobs": [[]],
    "imports": [[]],
    "followers": [[]],
    "celery_runs": [[]],
    "postgres_peers": [[]],
}
"""The benchmarks and the options with which each is run."""


def run(program: str, options: list[str]) -> dict[str, Any]:
    """Run one benchmark, print its sentence and return its results."""
    command = [sys.executable, str(HERE / f"{program}.py"), *options]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        sys.exit(f"{program} {' '.join(options)} failed:\n{done.stderr}")
    print(f"{lines[-1]} [{time.monotonic() - begun:.0f} s]", flush=True)
    found: dict[str, Any] = json.loads(lines[-2])
    return found


def render(result: dict[str, Any]) -> str:
    """Return the section of a result."""
    figures = {key: value for key, value in result.items() if key not in {"benchmark", "sentence"}}
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in figures.items())
    when = f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    return f"## {result['benchmark'].capitalize()}\n\n{result['sentence']} {when}\n\n```json\n{{\n{lines}\n}}\n```\n\n"


def title(section: str) -> str:
    """Return the heading of a section."""
    return section.partition("\n")[0]


def main() -> None:
    """Run the given benchmarks, or all of them, and write the page."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else f"\n{NOTES}\n"
    page, _, notes = text.partition(NOTES)
    sections = {title(found): found for found in re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]}
    for program in sys.argv[1:] or PROGRAMS:
        for options in PROGRAMS[program]:
            section = render(run(program, options))
            sections[title(section)] = section
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    intro = f"# Benchmark results\n\nWritten by `tox -e bench`: {facts}. Figures are medians.\n\n"
    RESULTS.write_text(f"{intro}{''.join(sections.values())}{NOTES}{notes}", encoding="utf-8")


if __name__ == "__main__":
    main()
