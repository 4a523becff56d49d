"""Far more jobs due at once than can start within a second, with default settings.

python bench/cliff.py [--jobs 50000]

APScheduler skips jobs that are later than its `misfire_grace_time` of 1 s, which here are all of them.
"""

from __future__ import annotations

from measure import arguments, report, short
from sides import bare_burst, gnomon_burst


def main() -> None:
    """Measure once and print the results."""
    asked = arguments("A large burst with default settings.", jobs=50_000)
    ours = gnomon_burst(asked.jobs)
    bare = bare_burst(asked.jobs, grace=1)
    report(
        f"burst of {asked.jobs} with default settings",
        f"Of {asked.jobs} jobs due at once, Gnomon runs {ours['ran']}, 99% of them within {short(ours['p99_s'])} s, "
        f"and bare APScheduler {bare['ran']}, both with their default settings.",
        gnomon={key: short(value) for key, value in ours.items()},
        bare={key: short(value) for key, value in bare.items()},
    )


if __name__ == "__main__":
    main()
