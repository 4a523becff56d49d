"""integrity_audit over small real distributions, and over the environment that runs the tests."""

import base64
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon import Context, RunCancelled
from gnomon_chores import integrity_audit
from gnomon_chores.errors import BadArgument, IntegrityViolated, NothingToAudit

FILES = {"alpha/__init__.py": b"value = 1\n", "alpha/data.bin": bytes(range(256)), "alpha/empty.py": b""}


def install(site: Path, name: str = "alpha", files: dict[str, bytes] | None = None, *, version: str = "1.0") -> Path:
    """Lay out what an installer leaves of a wheel and return its dist-info folder."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    files = {**(FILES if files is None else files)}
    files[f"{info.name}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    record = []
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(content)}")
    record += ["alpha/__pycache__/__init__.cpython-311.pyc,,", f"{info.name}/RECORD,,"]
    (info / "RECORD").write_text("\n".join(record) + "\n")
    return info


def test_untouched_distributions_pass_and_are_counted(tmp_path: Path, ctx: Context) -> None:
    install(tmp_path, "alpha")
    install(tmp_path, "beta", {"beta.py": b"1234567"})

    counts = integrity_audit(ctx, paths=[str(tmp_path)])

    metadata = sum(path.stat().st_size for path in tmp_path.glob("*/METADATA"))
    assert counts == {
        "distributions": 2,
        "unverifiable": 0,
        "files": 6,
        "bytes": 10 + 256 + 0 + 7 + metadata,
        "unhashed": 4,
    }


def test_an_altered_and_a_missing_file_are_named_in_the_failure(tmp_path: Path, ctx: Context) -> None:
    install(tmp_path)
    (tmp_path / "alpha/__init__.py").write_bytes(b"value = 2\n")
    (tmp_path / "alpha/data.bin").unlink()

    with pytest.raises(IntegrityViolated) as caught:
        integrity_audit(ctx, paths=[str(tmp_path)])

    assert caught.value.altered == ["alpha 1.0: alpha/__init__.py"]
    assert caught.value.missing == ["alpha 1.0: alpha/data.bin"]
    assert "altered: alpha 1.0: alpha/__init__.py\n  missing: alpha 1.0: alpha/data.bin" in str(caught.value)


def test_a_file_that_has_become_a_folder_is_reported_and_does_not_end_the_audit(tmp_path: Path, ctx: Context) -> None:
    install(tmp_path)
    install(tmp_path, "beta", {"beta.py": b"1"})
    (tmp_path / "alpha/empty.py").unlink()
    (tmp_path / "alpha/empty.py").mkdir()
    (tmp_path / "beta.py").unlink()

    with pytest.raises(IntegrityViolated) as caught:
        integrity_audit(ctx, paths=[str(tmp_path)])

    assert caught.value.unreadable == ["alpha 1.0: alpha/empty.py (Is a directory)"]
    assert caught.value.missing == ["beta 1.0: beta.py"]


def test_the_failure_lists_fifty_files_and_the_number_of_the_rest(tmp_path: Path, ctx: Context) -> None:
    install(tmp_path, files={f"alpha/m{number:03}.py": b"x" for number in range(73)})
    for number in range(73):
        (tmp_path / f"alpha/m{number:03}.py").unlink()

    with pytest.raises(IntegrityViolated) as caught:
        integrity_audit(ctx, paths=[str(tmp_path)])

    heading, *lines = str(caught.value).splitlines()
    assert heading.startswith("0 altered, 73 missing and 0 unreadable files")
    assert len(lines) == 51
    assert lines[-1].strip() == "and 23 more"


def test_a_file_without_a_hash_is_not_checked(tmp_path: Path, ctx: Context) -> None:
    info = install(tmp_path)

    assert not (tmp_path / "alpha/__pycache__").exists()
    (info / "RECORD").write_text((info / "RECORD").read_text() + "alpha/never_there.py,,\n")

    assert integrity_audit(ctx, paths=[str(tmp_path)])["unhashed"] == 3


def test_a_script_outside_of_the_packages_folder_is_checked(tmp_path: Path, ctx: Context) -> None:
    site = tmp_path / "lib" / "site-packages"
    install(site, files={"../../bin/alpha": b"#!python\n"})
    (tmp_path / "bin/alpha").write_bytes(b"#!evil\n")

    with pytest.raises(IntegrityViolated, match=r"altered: alpha 1\.0: \.\./\.\./bin/alpha"):
        integrity_audit(ctx, paths=[str(site)])


def test_of_two_distributions_with_one_name_the_first_on_the_path_counts(tmp_path: Path, ctx: Context) -> None:
    install(tmp_path / "first", "Alpha.Tools")
    install(tmp_path / "second", "alpha_tools", version="0.9")
    (tmp_path / "second/alpha/__init__.py").write_bytes(b"hidden by the first")

    counts = integrity_audit(ctx, paths=[str(tmp_path / "first"), str(tmp_path / "first"), str(tmp_path / "second")])

    assert counts["distributions"] == 1


def test_editable_and_recordless_distributions_are_unverifiable_and_no_failure(tmp_path: Path, ctx: Context) -> None:
    install(tmp_path, "good")
    editable = install(tmp_path, "editable", {"__editable__.pth": b"/src"})
    (editable / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {"editable": true}}')
    (tmp_path / "__editable__.pth").unlink()
    (install(tmp_path, "debian") / "RECORD").unlink()
    (tmp_path / "broken-1.0.dist-info").mkdir()

    counts = integrity_audit(ctx, paths=[str(tmp_path)])

    assert (counts["distributions"], counts["unverifiable"]) == (1, 3)


def test_a_local_install_that_is_not_editable_is_verified(tmp_path: Path, ctx: Context) -> None:
    info = install(tmp_path)
    (info / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {}}')
    (tmp_path / "alpha/empty.py").write_bytes(b"no longer")

    with pytest.raises(IntegrityViolated):
        integrity_audit(ctx, paths=[str(tmp_path)])


def test_progress_names_each_distribution(
    tmp_path: Path, ctx: Context, begun_steps: list[str], told_progress: list[dict[str, Any]]
) -> None:
    install(tmp_path, "beta", {"beta.py": b"1"}, version="2.1")
    install(tmp_path, "alpha")

    integrity_audit(ctx, paths=[str(tmp_path)])

    assert begun_steps == ["discover", "verify", "report"]
    assert [(told.get("current_item"), told["processed_items"], told["total_items"]) for told in told_progress] == [
        ("alpha 1.0", 0, 2),
        ("beta 2.1", 1, 2),
        (None, 2, 2),
    ]


def test_cancel_is_seen_between_two_files(
    tmp_path: Path, ctx: Context, cancel_after: Callable[[int], None], told_progress: list[dict[str, Any]]
) -> None:
    install(tmp_path, "alpha")
    install(tmp_path, "beta", {"beta.py": b"1"})
    cancel_after(6)  # three for the steps, one for the progress, two for files

    with pytest.raises(RunCancelled):
        integrity_audit(ctx, paths=[str(tmp_path)])

    assert [told["current_item"] for told in told_progress] == ["alpha 1.0"]


def test_a_folder_without_distributions_is_no_success(tmp_path: Path, ctx: Context) -> None:
    with pytest.raises(NothingToAudit, match="expected at least one"):
        integrity_audit(ctx, paths=[str(tmp_path)])


@pytest.mark.parametrize("paths", ["/", ["/not/there/at/all"], [1]])
def test_paths_that_are_no_folders_are_refused(ctx: Context, paths: Any) -> None:
    with pytest.raises(BadArgument, match="paths is"):
        integrity_audit(ctx, paths=paths)


def test_the_environment_that_runs_the_tests_is_as_it_was_installed(ctx: Context) -> None:
    counts = integrity_audit(ctx)

    assert counts["distributions"] > 5
    assert counts["files"] > 500
    assert any("site-packages" in path for path in sys.path)
