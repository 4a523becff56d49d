"""The progress of an export or import on stderr: a bar on a terminal, else a line for each tenth."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gnomon.cli.output.console import echo, make_console

TENTHS = 10


class TransferProgress:
    """Shows how far a transfer has come while its block lasts; nothing where it `is_quiet`."""

    def __init__(self, title: str, *, is_quiet: bool = False, console: Console | None = None) -> None:
        console = console or make_console(stderr=True)
        columns = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        ]
        has_bar = console.is_terminal and not is_quiet
        self._bar = Progress(*columns, console=console, transient=True, disable=not has_bar)
        self._task = self._bar.add_task(title, total=None)
        self._title, self._is_quiet = title, is_quiet
        self._tenths = 0

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Remove the bar."""
        self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """Show how much of the total is done."""
        if not self._bar.disable:
            self._bar.update(self._task, completed=done, total=total)
        elif not self._is_quiet and (tenths := TENTHS * done // max(total, 1)) > self._tenths:
            self._tenths = tenths
            echo(f"{self._title}: {100 // TENTHS * tenths} %", err=True)
