"""What came of an act on many jobs or runs, one line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from gnomon.cli.output.console import echo
from gnomon.cli.output.json_output import print_json
from gnomon.domain.bulk_acts import ActOutcome


def print_outcomes(outcomes: Sequence[ActOutcome], done: str, unchanged: str, *, as_json: bool) -> None:
    """Print the outcomes; exit with 1 if one was refused, or if nothing matched."""
    if as_json:
        print_json([msgspec.to_builtins(outcome) for outcome in outcomes])
    else:
        for one in outcomes:
            echo(f"{one.id}: {one.error or (done if one.changed else unchanged)}", err=one.error is not None)
        if not outcomes:
            echo("nothing matches", err=True)
    if not outcomes or any(outcome.error is not None for outcome in outcomes):
        sys.exit(1)
