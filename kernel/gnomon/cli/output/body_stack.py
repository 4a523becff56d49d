"""What a look into a running body found, as text: its stacks as a traceback has them, then what its process uses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from gnomon.cli.output.console import echo
from gnomon.domain.body_sample import BodySample, BodyStack, ProcessUsage
from gnomon.text import length, moment

MEBIBYTE = 1024 * 1024


def print_sample(sample: BodySample, zone: tzinfo | None) -> None:
    """Print a sample, with its time in `zone`."""
    for stack in sample.stacks:
        echo("\n".join(_lines(stack)) + "\n")
    used = [*_uses(sample), f"runner {sample.runner}" if sample.runner else "", moment(sample.at, zone, seconds=True)]
    echo(", ".join(filter(None, used)))
    if sample.problem is not None:
        echo(f"gnomon: {sample.problem}", err=True)


def _lines(stack: BodyStack) -> Iterator[str]:
    yield f"{stack.name} (most recent call last):"
    for index, frame in enumerate(stack.frames):
        if stack.left_out and index == len(stack.frames) // 2:
            yield f"  … {stack.left_out} calls left out …"
        yield f'  File "{frame.file}", line {frame.line}, in {frame.function}'
        if frame.source:
            yield f"    {frame.source}"


def _uses(sample: BodySample) -> Iterator[str]:
    process = sample.process
    if sample.cpu_s is not None:
        yield f"CPU {length(sample.cpu_s)} since its start"
    if sample.memory_growth is not None:
        yield f"memory {sample.memory_growth / MEBIBYTE:+.1f} MiB since its start"
    if process is not None:
        yield _process(process, is_shared=sample.is_shared)


def _process(process: ProcessUsage, *, is_shared: bool) -> str:
    facts = [
        f"{process.memory / MEBIBYTE:.1f} MiB" if process.memory is not None else "",
        f"at most {process.peak_memory / MEBIBYTE:.1f} MiB" if process.peak_memory is not None else "",
        "shared with other runs" if is_shared else "",
    ]
    return f"process {process.pid} ({', '.join(filter(None, facts))})"
