"""Known vulnerabilities of what is installed with Gnomon. Run by `tox -e audit`, which installs pip-audit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pip_audit", reason="pip-audit is not installed: run `tox -e audit`")

LOCK = Path(__file__).parents[2] / "locks" / "runtime.txt"


def test_no_locked_version_has_a_known_vulnerability() -> None:
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json"]
    done = subprocess.run([*command, "--requirement", str(LOCK)], capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip(f"the advisories cannot be reached: {done.stderr.strip()[-300:]}")
    packages = json.loads(done.stdout)["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        pytest.skip(f"the advisories cannot be reached: {packages[0]['skip_reason']}")

    assert [package for package in known if package["vulns"]] == []
    assert len(known) == len(packages), [package for package in packages if package not in known]
