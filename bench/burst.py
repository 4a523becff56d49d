"""Many recurring jobs due at one instant, against APScheduler without a history.

python bench/burst.py [--jobs 10000] [--pairs 9]

Gnomon commits three events and a view per run to SQLite with synchronous=FULL, `started` before each body.
"""

from __future__ import annotations

from measure import alternate, arguments, median, quartiles, ratios, report
from sides import bare_burst, gnomon_burst


def main() -> None:
    """Measure and print the results."""
    asked = arguments("A burst, against bare APScheduler.", jobs=10_000, pairs=9)
    pairs = alternate(lambda: bare_burst(asked.jobs), lambda: gnomon_burst(asked.jobs, asked.jobs), asked.pairs)
    bare, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = {
        "all_started": quartiles(ratios(pairs, "all_started_s")),
        "all_committed": quartiles(ratios(pairs, "all_started_s", "all_done_s")),
        "first_start": quartiles(ratios(pairs, "first_s")),
        "p50_lateness": quartiles(ratios(pairs, "p50_s")),
        "p99_lateness": quartiles(ratios(pairs, "p99_s")),
        "cpu": quartiles(ratios(pairs, "cpu_us_per_run")),
    }
    report(
        f"burst of {asked.jobs}",
        f"Of {asked.jobs} jobs due at once, the first starts {found['first_start']['median']} times as fast as in bare "
        f"APScheduler ({median(ours, 'first_s')} s after it was due) and the last {found['all_started']['median']} "
        f"times as fast ({median(ours, 'all_started_s')} s against {median(bare, 'all_started_s')} s). Everything is "
        f"committed {found['all_committed']['median']} times as fast as APScheduler starts all jobs "
        "without a history.",
        pairs=len(pairs),
        ratio_bare_to_gnomon=found,
        gnomon={key: median(ours, key) for key in ours[0]},
        bare={key: median(bare, key) for key in bare[0]},
    )


if __name__ == "__main__":
    main()
