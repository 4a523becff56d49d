"""What `--json` prints: one document, with every key of a record, also those that have nothing to say."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from gnomon.domain.execution import Execution
from gnomon.durations import encode_hook


def print_json(document: Any) -> None:
    """Print a document; times are ISO 8601 with an offset."""
    encoded = msgspec.json.encode(document, enc_hook=encode_hook)
    click.echo(msgspec.json.format(encoded, indent=2).decode())


def execution_record(execution: Execution) -> dict[str, Any]:
    """Make the record of an execution: all its fields, and those of its progress."""
    return msgspec.structs.asdict(execution) | {"progress": msgspec.structs.asdict(execution.progress)}
