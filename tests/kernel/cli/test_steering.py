"""The kernel on this machine, as commands see it, where they cannot see it whole."""

from pathlib import Path

import pytest

from gnomon.cli.access.local import LocalKernel
from gnomon.control_socket import GetHealth, NoKernelError
from gnomon.deployment.config import load_config
from gnomon.errors import GnomonError


@pytest.fixture
def kernel(tmp_path: Path) -> LocalKernel:
    path = tmp_path / "gnomon.toml"
    path.write_text("[plugins.memory]\n", encoding="utf-8")
    return LocalKernel(load_config(path, {}))


async def test_a_log_in_memory_cannot_be_followed_by_others(kernel: LocalKernel) -> None:
    async with kernel:
        for following in (kernel.events(None), kernel.follow("0" * 24)):
            with pytest.raises(GnomonError, match="is in its kernel's memory"):
                await anext(following)


async def test_nobody_is_asked_where_no_kernel_runs(kernel: LocalKernel) -> None:
    async with kernel:
        with pytest.raises(NoKernelError, match="no kernel is running for this deployment"):
            await kernel.ask(GetHealth())
