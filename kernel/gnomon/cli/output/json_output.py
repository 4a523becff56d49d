"""The output of `--json`: one document, in which every field of a record is present, even if it is null."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.cli.output.console import echo_json
from gnomon.domain.execution import Execution
from gnomon.durations import encode_hook


def print_json(document: Any) -> None:
    """Print a document; times are ISO 8601 with an offset."""
    encoded = msgspec.json.encode(document, enc_hook=encode_hook)
    echo_json(msgspec.json.format(encoded, indent=2).decode())


def execution_record(execution: Execution) -> dict[str, Any]:
    """Return all fields of an execution and of its progress."""
    return msgspec.structs.asdict(execution) | {"progress": msgspec.structs.asdict(execution.progress)}
