"""This version against another one: burst, steady load and appends, each alternately in processes of their own.

python bench/versions.py CHECKOUT PYTHON [--pairs 9]

CHECKOUT is a clone of the other version, and PYTHON the interpreter of an environment in which it is installed. A ratio
above 1 means that this version is faster, or needs less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from measure import alternate, median, quartiles, ratios, report

QUIET = """
import logging, structlog
logging.disable(logging.CRITICAL)
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
"""
MEASURED = {
    "burst": "import sides; found = sides.gnomon_burst(10_000, 10_000)",
    "steady": "import steady; found = steady.gnomon(1_000, 3)",
    "append": """
import append
batches = append.batches(1_000)
found = append.gnomon([next(batches) for _ in range(300)], "FULL")
""",
}
"""What each process runs in its folder bench/: names that have been there since version 0.1."""
FIGURES = {
    "burst": ["all_started_s", "all_done_s", "cpu_us_per_run"],
    "steady": ["cpu_us_per_run", "p50_late_ms"],
    "append": ["events_per_s"],
}


def measure(python: str, checkout: Path, code: str) -> Mapping[str, float]:
    """Run one measurement with one version; return its figures."""
    program = f"{QUIET}\n{code}\nimport json; print(json.dumps(dict(found)))"
    done = subprocess.run([python, "-c", program], cwd=checkout / "bench", capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{checkout}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("python")
    parser.add_argument("--pairs", type=int, default=9)
    asked = parser.parse_args()
    here = Path(__file__).parents[1]
    for name, code in MEASURED.items():
        pairs = alternate(
            lambda code=code: measure(asked.python, asked.checkout, code),  # type: ignore[misc]
            lambda code=code: measure(sys.executable, here, code),  # type: ignore[misc]
            asked.pairs,
        )
        others, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        found = {
            figure: quartiles(
                [1 / ratio for ratio in ratios(pairs, figure)] if "per_s" in figure else ratios(pairs, figure)
            )
            for figure in FIGURES[name]
        }
        figures = ", ".join(
            f"{figure} {median(others, figure)} → {median(ours, figure)} ({found[figure]['median']})"
            for figure in found
        )
        report(f"{name} against another version", f"{name}: {figures}", pairs=len(pairs), ratio=found)


if __name__ == "__main__":
    main()
