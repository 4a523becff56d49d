"""Orders that run in this process and are kept in PostgreSQL, beside procrastinate, oban and dbos on the same server.

python bench/postgres_peers.py [--tasks 2000] [--paced 200] [--rounds 3]

The server runs for the benchmark alone, with fsync, and each side has its own process and database. The sides
take turns, in another order in each round; ratios are those of one round. `runs_per_s` and latencies are explained in
`peer_sides.py`. oban needs Python 3.12: run the benchmark on it, with the dependency group `peers`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import psycopg

from measure import arguments, median, quartiles, report
from peer_sides import OF_MANY, ORDERS_AT_ONCE, PACE, SIDES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
from postgres_servers import PostgresServer, running_postgres

PEERS = ("procrastinate", "oban", "dbos")
GOAL = 2.0
Figures = dict[str, float]


def measure(running: PostgresServer, side: str, database: str, tasks: int, paced: int) -> Figures:
    """Measure a side in its own process and database."""
    with psycopg.connect(running.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
    program = Path(__file__).with_name("peer_sides.py")
    command = [sys.executable, str(program), side, running.dsn(database), str(tasks), str(paced)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr}")
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(rounds: list[dict[str, Figures]], peer: str) -> dict[str, dict[str, float]]:
    """Return how many times as fast Gnomon is, by both of its ways, and its own latency in parts of the peer's."""

    def ratio(side: str, figure: str) -> dict[str, float]:
        return quartiles([one[side][figure] / one[peer][figure] for one in rounds])

    many = {"many_by_orders": ratio("gnomon_orders", "many_per_s")} if peer in OF_MANY else {}
    return many | {
        "runs": ratio("gnomon", "runs_per_s"),
        "runs_by_orders": ratio("gnomon_orders", "runs_per_s"),
        "p50": ratio("gnomon", "p50_ms"),
        "p50_by_orders": ratio("gnomon_orders", "p50_ms"),
    }


def main() -> None:
    """Measure and print the results."""
    asked = arguments("Orders kept in PostgreSQL, beside its peers.", tasks=2_000, paced=200, rounds=3)
    sides = [side for side in SIDES if side not in PEERS or importlib.util.find_spec(side)]
    peers = [side for side in sides if side in PEERS]
    rounds: list[dict[str, Figures]] = []
    # It keeps what it has confirmed over a power cut.
    with running_postgres("-c", "fsync=on") as running:
        for number in range(asked.rounds):
            order = sides[number % len(sides) :] + sides[: number % len(sides)]
            rounds.append(
                {side: measure(running, side, f"{side}_{number}", asked.tasks, asked.paced) for side in order}
            )
    figures = {side: {name: median([one[side] for one in rounds], name) for name in rounds[0][side]} for side in sides}
    ratios = {peer: compare(rounds, peer) for peer in peers}
    beside = ", ".join(f"{ratios[peer]['runs']['median']} times {peer}'s" for peer in peers)
    report(
        f"{asked.tasks} orders in PostgreSQL",
        f"A kernel runs {figures['gnomon']['runs_per_s']:,.0f} triggers per second on PostgreSQL ({beside}; the goal "
        f"is {GOAL:g}), and {figures['gnomon_orders']['runs_per_s']:,.0f} orders that are each placed in a transaction "
        f"of the caller's, {figures['gnomon_orders']['many_per_s']:,.0f} with {ORDERS_AT_ONCE} in each. At {PACE} per "
        f"second a body starts {figures['gnomon']['p50_ms']} ms after its trigger, and "
        f"{figures['gnomon_orders']['p50_ms']} ms after its order.",
        rounds=len(rounds),
        **figures,
        gnomon_to=ratios,
    )


if __name__ == "__main__":
    main()
