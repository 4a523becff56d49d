"""Writing to the terminal: all that the command line prints goes through here, and foreign text in it is made safe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from gnomon.text import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console


def echo(text: str = "", *, err: bool = False) -> None:
    """Print text and a line break to stdout or stderr; control characters in it are written out."""
    click.echo(visible(text, lines=True), err=err)


def echo_json(document: str) -> None:
    """Print a JSON document; control characters in its texts are escaped."""
    click.echo(visible_json(document))


def make_console(*, stderr: bool = False) -> Console:
    """Return a console of rich that writes control characters in texts out."""
    from rich.console import Console, ConsoleOptions, RenderableType  # slow to import
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text, lines=True), segment.style)

    return SafeConsole(stderr=stderr, highlight=False)
