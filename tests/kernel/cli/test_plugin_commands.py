"""Commands of plugins whose modules raise when they are imported."""

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from gnomon import cli

MODULES = {
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "fails": "raise ValueError('no \\udcff')",
    "unshowable": "class E(BaseException):\n    def __str__(self): raise SystemExit\nraise E",
    "no_command": "class C:\n    def __repr__(self): raise SystemExit\ncommand = C()",
    "no_class": "class C:\n    @property\n    def __class__(self): raise KeyboardInterrupt\ncommand = C()",
}


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Install a command whose module has this code, and return its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(code: str) -> str:
        (tmp_path / "hostile_command.py").write_text(code)
        sys.modules.pop("hostile_command", None)
        point = EntryPoint("hostile", "hostile_command:command", cli.PLUGIN_COMMANDS)
        monkeypatch.setattr(cli, "entry_points", lambda **_: [point])
        return point.name

    return install


@pytest.mark.parametrize("code", MODULES.values(), ids=MODULES)
def test_a_command_that_cannot_be_imported_is_a_sentence(offer: Callable[[str], str], code: str) -> None:
    name = offer(code)

    called, helped = CliRunner().invoke(cli.main, [name]), CliRunner().invoke(cli.main, ["--help"])

    assert (called.exit_code, helped.exit_code) == (1, 0)
    assert called.stderr.startswith("gnomon: the command 'hostile' (hostile_command:command) ")
    assert "the command 'hostile'" in helped.stdout
