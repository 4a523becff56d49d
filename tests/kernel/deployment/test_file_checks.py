"""Files that others may write and that decide which code runs: a warning, and for root an error before the import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.deployment import file_checks
from gnomon.deployment.assembly import Deployment, assemble
from gnomon.deployment.config import load_config
from gnomon.deployment.plugin_loading import list_plugins
from gnomon.errors import ConfigError

MODULE = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\ndef ok(): ...\n"
JOB = '[plugins.sqlite]\n[[jobs]]\nid = "ok"\nfunc = "app.j:ok"\n'


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the modules of each test again, and forget them afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("app", "app.j", "checked_helper", "checked_plugin"):
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").touch()
    (tmp_path / "app/j.py").write_text(MODULE)
    (tmp_path / "checked_helper.py").touch()
    (tmp_path / "gnomon.toml").write_text(JOB)
    return tmp_path


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("what is refused for root can be tried by root only")


def refused(config: Path) -> str:
    needs_root()
    with pytest.raises(ConfigError) as caught:
        assemble(load_config(config, {}))
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("place", "mode"), [("app/j.py", 0o666), ("app/__init__.py", 0o666), ("app", 0o777), ("app/__pycache__", 0o777)]
)
def test_root_imports_no_module_that_others_may_write(app: Path, place: str, mode: int) -> None:
    (app / "app/__pycache__").mkdir()
    (app / place).chmod(mode)

    assert f"module app.j: {app / place} can be changed by every user" in refused(app / "gnomon.toml")
    assert not (app / "app/j.ran").exists()


def test_a_module_that_others_may_write_is_a_warning_for_other_users(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "app/j.py").chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    expected = (
        f"module app.j: {app / 'app/j.py'} can be changed by every user, who could run code as the user of this "
        "kernel: chmod go-w"
    )
    assert assemble(load_config(app / "gnomon.toml", {})).warnings == [expected]


def test_what_a_module_imports_is_checked_too(app: Path) -> None:
    (app / "app/j.py").write_text(f"import checked_helper\n{MODULE}")
    (app / "checked_helper.py").chmod(0o666)

    assert "module checked_helper: " in refused(app / "gnomon.toml")


def test_many_jobs_of_one_module_are_one_check(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (app / "gnomon.toml").write_text(
        "[plugins.sqlite]\n" + "".join(f'[[jobs]]\nid = "j{i}"\nfunc = "app.j:ok"\n' for i in range(100))
    )
    checked: list[Path] = []

    def check(path: Path) -> str:
        checked.append(path)
        return ""

    monkeypatch.setattr(file_checks, "other_writers", check)
    assemble(load_config(app / "gnomon.toml", {}))

    assert checked.count(app / "app/j.py") == 2  # before the import, and after it


@pytest.mark.parametrize(("place", "mode"), [("plugins/checked_plugin.py", 0o666), ("plugins", 0o777)])
def test_root_loads_no_plugin_file_that_others_may_write(tmp_path: Path, place: str, mode: int) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/checked_plugin.py").write_text(MODULE)
    config = tmp_path / "gnomon.toml"
    config.write_text('[plugins]\npaths = ["plugins/checked_plugin.py"]\n[plugins.sqlite]\n')
    (tmp_path / place).chmod(mode)

    assert f"plugins.paths: 'checked_plugin.py': {tmp_path / place} can be changed by every user" in refused(config)
    for use in (Deployment.store_only, list_plugins):
        with pytest.raises(ConfigError, match=r"plugins\.paths"):
            use(load_config(config, {}))
    assert not (tmp_path / "plugins/checked_plugin.ran").exists()


@pytest.mark.parametrize("is_link_open", [False, True], ids=["open target", "open folder of the link"])
def test_a_config_behind_a_relative_link_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_link_open: bool
) -> None:
    needs_root()
    for name in ("links", "real"):
        (tmp_path / name).mkdir()
    (tmp_path / "real/real.toml").write_text("[kernel]\npython_path = []\n[plugins.sqlite]\n")
    (tmp_path / "links/l.toml").symlink_to("../real/real.toml")
    opened = tmp_path / ("links" if is_link_open else "real")
    opened.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("links/l.toml"), {})
    monkeypatch.chdir(config.directory)  # as the commands do

    with pytest.raises(ConfigError, match=f"the config: {opened} can be changed by every user"):
        assemble(config)


def test_a_referenced_file_that_others_may_write_is_a_warning(tmp_path: Path) -> None:
    secret = tmp_path / "node"
    secret.write_text("n")
    secret.chmod(0o666)
    (tmp_path / "gnomon.toml").write_text('[kernel]\nnode = { file = "node" }\n[plugins.sqlite]\n')

    assert assemble(load_config(tmp_path / "gnomon.toml", {})).warnings == [
        f"kernel.node: {secret} can be changed by every user, who could replace this value: chmod go-w"
    ]


def test_a_named_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gnomon.toml").write_text('[kernel]\nnode = { file = "pipe" }\n[plugins.sqlite]\n')
    command = [sys.executable, "-m", "gnomon.cli", "check", str(tmp_path / "gnomon.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert f"kernel.node: {tmp_path / 'pipe'} cannot be read: it is not a regular file" in done.stderr + done.stdout
