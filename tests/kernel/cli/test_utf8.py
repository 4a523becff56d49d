import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gnomon.cli import main
from gnomon.cli.input.utf8 import with_checked_text

ODD = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["hold", "--reason", ODD], "--reason"),
        (["pause", ODD], "JOB"),
        (["skip", "nightly", "--reason", ODD], "--reason"),
        (["jobs", "add", "--owner", ODD], "--owner"),
        (["jobs", "add", "--id", ODD], "--id"),
        (["jobs", "add", "--set", f"kwargs.market={ODD}"], "--set"),
        (["import", "celery-beat", ODD], "MODULE"),
    ],
)
def test_text_that_is_not_utf8_is_a_usage_error_that_names_the_option(arguments: list[str], named: str) -> None:
    answer = CliRunner().invoke(main, arguments)

    assert answer.exit_code == 2
    assert f"Invalid value for '{named}" in answer.stderr or f"Invalid value for '[{named}" in answer.stderr
    assert "byte 0xe9 at place" in answer.stderr


def test_paths_may_have_any_bytes(tmp_path: Path) -> None:
    config = tmp_path / ODD
    config.write_text("[plugins.sqlite]\n")

    assert CliRunner().invoke(main, ["--config", str(config), "check"]).exit_code == 0


def test_a_parameter_with_a_callback_keeps_it() -> None:
    @click.command()
    @click.option("--word", callback=lambda _ctx, _parameter, value: value.upper())
    def command(word: str) -> None:
        click.echo(word)

    assert CliRunner().invoke(with_checked_text(command), ["--word", "a"]).output == "A\n"
