"""The files beside MongoDB, which hold events and arguments: only the kernel's user can open them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnomon.errors import UnsafeFileError
from gnomon_mongo.documents.rejected_documents import Rejected, RejectedDocuments
from gnomon_mongo.documents.write_batch import DocumentCodec
from gnomon_shared_log.writing.spool import Spool


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


async def test_the_spool_and_what_was_rejected_are_for_their_owner_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", DocumentCodec())
    await spool.open()
    await RejectedDocuments(tmp_path / "spool.db.rejected").add([Rejected("events", {"n": 1}, "too large", 0, 0.0)])

    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
    await spool.close()

    assert modes == dict.fromkeys(("spool.db", "spool.db-wal", "spool.db.rejected"), 0o600)


async def test_a_link_in_the_place_of_the_spool_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "spool.db").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UnsafeFileError, match="is a symbolic link"):
        await Spool(tmp_path / "spool.db", DocumentCodec()).open()

    assert not (tmp_path / "elsewhere").exists()
