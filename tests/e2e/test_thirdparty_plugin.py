"""A stranger's plugin: its own distribution, built and installed into a fresh environment as its users would."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from textwrap import dedent

import pytest

SOURCE = Path(__file__).parents[1] / "fixtures/thirdparty"
CONFIG = """
[plugins.memory]
[plugins.echo]
file = "echo.txt"
"""
RUN_ONCE = """
import asyncio
import sys
from pathlib import Path

from gnomon.deployment.config import load_config
from gnomon.deployment.assembly import assemble
from gnomon.kernel import Kernel


async def main(config, job_id):
    deployment = assemble(load_config(Path(config)))
    async with Kernel(store=deployment.store, jobs=deployment.jobs, plugins=deployment.plugins) as kernel:
        triggered = await kernel.trigger(job_id)
        execution = await kernel.wait(triggered.execution.id)
    print(execution.status)


asyncio.run(main(*sys.argv[1:]))
"""
SURVEY = """
from gnomon.deployment.config import Config
from gnomon.deployment.plugin_loading import list_plugins

print(*(f"{info.name} {info.origin} {info.state} {info.hooks}" for info in list_plugins(Config())), sep="\\n")
"""


def run(*command: str | Path, folder: Path) -> str:
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the plugin; it sees the Gnomon that runs the tests, however that is installed."""
    folder = tmp_path_factory.mktemp("stranger")
    # hatchling itself and --no-index: nothing is downloaded
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", folder=SOURCE)
    venv.create(folder / "env", with_pip=True)
    python = folder / "env/bin/python"
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    run(python, *install, *(folder / "dist").glob("*.whl"), folder=folder)
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    # addsitedir and not the bare path, since the .pth file of an editable install has to be read too
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lines = [f"import site; site.addsitedir({path!r})\n" for path in sorted(borrowed)]
    Path(packages, "borrowed.pth").write_text("".join(lines), encoding="utf-8")
    return python


def test_an_installed_plugin_is_listed_with_its_distribution(python: Path, tmp_path: Path) -> None:
    listed = run(python, "-c", SURVEY, folder=tmp_path).splitlines()

    assert "echo gnomon-echo 0.3.1 installed ['on_succeeded', 'register_jobs']" in listed


def test_an_enabled_plugin_runs_its_job_and_receives_the_result(python: Path, tmp_path: Path) -> None:
    config = tmp_path / "gnomon.toml"
    config.write_text(CONFIG, encoding="utf-8")

    output = run(python, "-c", RUN_ONCE, config, "echo.shout", folder=tmp_path.parent)

    assert output.splitlines()[-1] == "success"
    assert (tmp_path / "echo.txt").read_text(encoding="utf-8") == "echo.shout: HELLO\n"


def test_an_installed_command_is_in_the_help_and_runs(python: Path, tmp_path: Path) -> None:
    listed = run(python, "-m", "gnomon.cli", "--help", folder=tmp_path)
    assert "Commands of plugins:" in listed
    assert "Return a word in capitals." in listed
    assert run(python, "-m", "gnomon.cli", "echo", "hello", folder=tmp_path) == "HELLO\n"


def test_invalid_settings_of_a_plugin_are_reported_before_anything_runs(python: Path, tmp_path: Path) -> None:
    config = tmp_path / "gnomon.toml"
    config.write_text(CONFIG.replace("file", "fil"), encoding="utf-8")
    check = dedent("""
        import sys
        from pathlib import Path
        from gnomon.deployment.config import load_config
        from gnomon.deployment.assembly import assemble
        from gnomon.errors import ConfigError
        try:
            assemble(load_config(Path(sys.argv[1])))
        except ConfigError as exc:
            print(exc)
        """)

    problems = run(python, "-c", check, config, folder=tmp_path).splitlines()

    assert problems == [
        "plugins.echo.fil: unknown key; did you mean 'file'?",
        "plugins.echo: 'file' is missing",
    ]
