"""The kernel of a deployment has the settings of its config."""

from pathlib import Path

import pytest

from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config
from gnomon.deployment.kernel_factory import build_kernel


@pytest.mark.parametrize(
    ("text", "limit_s"), [("", 1.0), ("blocked_loop_after = '250ms'", 0.25), ("blocked_loop_after = 0", None)]
)
def test_the_limit_for_a_blocked_loop_comes_from_the_config(tmp_path: Path, text: str, limit_s: float | None) -> None:
    path = tmp_path / "gnomon.toml"
    path.write_text(f"[kernel]\n{text}\n[plugins.memory]\n", encoding="utf-8")

    kernel = build_kernel(assemble(load_config(path, {})))

    assert kernel._leader._blocked_loop_after_s == limit_s


def test_the_groups_come_from_the_config_and_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.toml"
    path.write_text("[groups]\nwarehouse = 2\n[plugins.memory]\n", encoding="utf-8")

    kernel = build_kernel(assemble(load_config(path, {"GNOMON__GROUPS__WAREHOUSE": "3"})))

    assert [(group.name, group.limit) for group in kernel.health().groups] == [("warehouse", 3)]
