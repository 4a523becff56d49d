"""The same burst, against APScheduler with a simple listener that commits each event to SQLite.

python bench/listener.py [--jobs 10000] [--pairs 9]
"""

from __future__ import annotations

from measure import alternate, arguments, median, quartiles, ratios, report
from sides import bare_burst, committing_listener, gnomon_burst


def main() -> None:
    """Measure and print the results."""
    asked = arguments("A burst, against a listener that commits.", jobs=5_000, pairs=9)
    pairs = alternate(
        lambda: bare_burst(asked.jobs, prepare=committing_listener),
        lambda: gnomon_burst(asked.jobs, asked.jobs),
        asked.pairs,
    )
    started, done = quartiles(ratios(pairs, "all_started_s")), quartiles(ratios(pairs, "all_done_s"))
    report(
        f"burst of {asked.jobs} against a committing listener",
        f"A burst of {asked.jobs} starts {started['median']} times as fast in Gnomon as in APScheduler with a "
        f"listener that commits two events per run, and is committed, with three, {done['median']} times as fast.",
        pairs=len(pairs),
        ratio_listener_to_gnomon={"all_started": started, "all_committed": done},
        gnomon_all_committed_s=median([pair[1] for pair in pairs], "all_done_s"),
        listener_all_committed_s=median([pair[0] for pair in pairs], "all_done_s"),
    )


if __name__ == "__main__":
    main()
