"""The deployment on this machine, where its log cannot be shared or no kernel runs."""

from pathlib import Path

import pytest

from gnomon.cli.access.local import LocalKernel, operator_name
from gnomon.deployment.config import load_config
from gnomon.errors import GnomonError, NoLeaderError


@pytest.fixture
def kernel(tmp_path: Path) -> LocalKernel:
    path = tmp_path / "gnomon.toml"
    path.write_text("[plugins.memory]\n", encoding="utf-8")
    return LocalKernel(load_config(path, {}))


async def test_a_log_in_memory_cannot_be_followed_from_another_process(kernel: LocalKernel) -> None:
    async with kernel:
        for following in (kernel.follow_events(None), kernel.follow_run("0" * 24)):
            with pytest.raises(GnomonError, match="is in the memory of its kernel"):
                await anext(following)


async def test_a_command_fails_while_no_kernel_runs(kernel: LocalKernel) -> None:
    async with kernel:
        with pytest.raises(NoLeaderError, match=r"no kernel leads this log \(nothing listens at .*gnomon\.sock\)"):
            await kernel.pause("tick", reason=None)


@pytest.mark.parametrize(("user", "actor"), [("ann", "ann"), ("kernel", "user kernel")])
def test_the_name_of_the_kernel_is_never_the_actor(user: str, actor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: user)

    assert operator_name() == actor
