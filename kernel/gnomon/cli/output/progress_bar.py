"""The progress of one run on stderr: a live bar on a terminal, else a line for each step."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from gnomon.cli.output.console import echo, make_console
from gnomon.domain.estimates import Timing
from gnomon.domain.progress import ProgressView
from gnomon.text import length, span, visible


class RunProgress:
    """Shows the progress of a run while its block lasts."""

    def __init__(self, job_id: str, console: Console | None = None) -> None:
        self._step: str | None = None
        columns = [
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
        ]
        console = console or make_console(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(_escaped(job_id), total=None, text="")

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Remove the bar; the caller prints how the run ended."""
        self._bar.stop()

    def show(self, view: ProgressView, timing: Timing) -> None:
        """Show the current progress."""
        if self._bar.disable:
            if view.step is not None and view.step != self._step:
                echo(f"step: {view.step}", err=True)
            self._step = view.step
            return
        total = None if view.percent is None else 100.0
        text = _escaped(progress_text(view, timing))
        self._bar.update(self._task, total=total, completed=view.percent or 0.0, text=text)


def progress_text(view: ProgressView, timing: Timing) -> str:
    """Return the text beside the bar: `42 %  store: row 7 (7/20)  3.1 s, about 4.2 s left`."""
    percent = f"{view.percent:.0f} %" if view.percent is not None else ""
    count = f"({view.processed_items}/{view.total_items or '?'})" if view.processed_items is not None else ""
    activity = ": ".join(word for word in (view.step, view.message or view.current_item) if word)
    left = f", {time_left(timing)}" if timing.remaining is not None else ""
    return "  ".join(
        word for word in (percent, " ".join(filter(None, (activity, count))), f"{length(timing.elapsed)}{left}") if word
    )


def time_left(timing: Timing) -> str:
    """Return how long a run still needs: `2 to 3 m left`, or `about 7.0 s left` where no range is known."""
    if timing.eta is None:
        return f"about {length(timing.remaining or 0.0)} left"
    return f"{span(timing.eta.low, timing.eta.high)} left"


def _escaped(text: str) -> str:
    return Text(visible(text)).markup  # rich would read [words] as markup
