"""The progress of one run on stderr: a live bar on a terminal, else a line for each step."""

from __future__ import annotations

from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from gnomon.domain.progress import ProgressView, Timing
from gnomon.text import length


class RunProgress:
    """Shows what a run tells of itself."""

    def __init__(self, job_id: str, console: Console | None = None) -> None:
        self._step: str | None = None
        columns = [
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}"),
        ]
        console = console or Console(stderr=True, highlight=False)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(_escaped(job_id), total=None, words="")

    def __enter__(self) -> Self:
        """Begin to show."""
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Take the bar away; how the run ended is told by others."""
        self._bar.stop()

    def show(self, view: ProgressView, timing: Timing) -> None:
        """Show the run as it stands."""
        if self._bar.disable:
            if view.step is not None and view.step != self._step:
                click.echo(f"step: {view.step}", err=True)
            self._step = view.step
            return
        total = None if view.percent is None else 100.0
        words = _escaped(in_words(view, timing))
        self._bar.update(self._task, total=total, completed=view.percent or 0.0, words=words)


def in_words(view: ProgressView, timing: Timing) -> str:
    """Write what is known beside the bar: `42 %  store: row 7 (7/20)  3.1 s, some 4.2 s left`."""
    percent = f"{view.percent:.0f} %" if view.percent is not None else ""
    count = f"({view.processed_items}/{view.total_items or '?'})" if view.processed_items is not None else ""
    said = ": ".join(word for word in (view.step, view.message or view.current_item) if word)
    left = f", some {length(timing.remaining)} left" if timing.remaining is not None else ""
    return "  ".join(
        word for word in (percent, " ".join(filter(None, (said, count))), f"{length(timing.elapsed)}{left}") if word
    )


def _escaped(text: str) -> str:
    return Text(text).markup  # rich reads [words] as markup
