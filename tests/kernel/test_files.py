"""Files for their owner alone: created so, narrowed, and not taken from other users."""

import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gnomon.errors import UnsafeFileError
from gnomon.files import group_name, make_private, open_private, other_writers, user_name

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_new_file_is_for_its_owner_whatever_the_umask_is(tmp_path: Path) -> None:
    os.close(open_private(tmp_path / "one"))
    make_private(tmp_path / "two")

    assert (mode(tmp_path / "one"), mode(tmp_path / "two")) == (0o600, 0o600)


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o666, 0o600), (0o640, 0o640), (0o660, 0o660)])
def test_a_file_that_every_user_can_open_is_narrowed_and_one_of_a_group_is_not(
    tmp_path: Path, before: int, after: int
) -> None:
    path = tmp_path / "file"
    for narrow in (open_private, make_private):
        path.write_text("content")
        path.chmod(before)
        with capture_logs() as logged:
            narrow(path)

        assert (mode(path), path.read_text()) == (after, "content")
        assert len(logged) == (before != after)


def test_what_is_not_a_file_of_ours_is_refused(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_text("important")
    link.symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    os.mkfifo(pipe)
    for one in (link, tmp_path / "dangling", pipe):
        for take in (open_private, make_private):
            with pytest.raises((UnsafeFileError, OSError), match=r"is a symbolic link|is not a regular file"):
                take(one)

    assert target.read_text() == "important"
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_in_a_shared_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.chown(path, NOBODY, NOBODY)

    with pytest.raises(UnsafeFileError, match=f"belongs to {user_name(NOBODY)}"):
        open_private(path)
    os.chown(tmp_path, NOBODY, NOBODY)
    os.close(open_private(path))  # the user of the folder may do there what they like


def test_other_writers_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "gnomon.toml"
    file.touch()
    assert other_writers(file) == ""
    file.chmod(0o666)
    assert other_writers(file) == f"{file} can be changed by every user"
    file.chmod(0o644)
    folder.chmod(0o777)
    assert other_writers(file) == f"{folder} can be changed by every user"
    folder.chmod(0o1777)  # sticky: they cannot rename the file, but they can create others beside it
    assert other_writers(file) == ""
    assert other_writers(folder) == f"{folder} can be changed by every user"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another group")
def test_another_group_that_may_write_is_named_and_the_own_group_is_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    assert other_writers(tmp_path) == ""
    os.chown(tmp_path, -1, NOBODY)
    assert other_writers(tmp_path) == f"{tmp_path} can be changed by the group {group_name(NOBODY)}"
