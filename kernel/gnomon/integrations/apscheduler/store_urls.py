"""Opens a job store of APScheduler by its URL, without starting it: nothing in the database is created."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gnomon.errors import GnomonError
from gnomon.safe_text import safe_str


@contextmanager
def open_store(url: str, table: str) -> Iterator[Any]:
    """Provide the job store behind a URL, closed at the end; GnomonError where its driver is missing."""
    scheme = urlsplit(url).scheme.partition("+")[0]
    with ExitStack() as resources:
        try:
            if scheme in {"redis", "rediss", "unix"}:
                store = _redis(url, resources)
            elif scheme == "mongodb":
                store = _mongo(url, resources)
            else:
                store = _sql(url, table, resources)
        except GnomonError:
            raise
        except ImportError as exc:
            raise GnomonError(f"the driver for {scheme}:// is not installed: {safe_str(exc)}") from exc
        except Exception as exc:  # drivers have errors of their own
            raise GnomonError(
                f"no job store can be opened with this URL: {type(exc).__name__}: {safe_str(exc)}"
            ) from exc
        yield store


# ruff: noqa: PLC0415 - each driver is imported for its own URLs only


def _sql(url: str, table: str, resources: ExitStack) -> Any:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from sqlalchemy.engine import make_url

    address = make_url(url)
    path = address.database or ""
    if address.get_backend_name() == "sqlite" and not path.startswith("file:") and not Path(path).is_file():
        # SQLite would create it.
        raise GnomonError(
            f"no job store can be opened with this URL: there is no file {path or ':memory:'!r}; a path is relative to "
            "the working folder, and an absolute one has four slashes, as in sqlite:////srv/jobs.sqlite"
        )
    store = SQLAlchemyJobStore(url=url, tablename=table)
    resources.callback(store.engine.dispose)
    return store


def _redis(url: str, resources: ExitStack) -> Any:
    from apscheduler.jobstores.redis import RedisJobStore

    store = RedisJobStore()
    store.redis = store.redis.from_url(url)  # its constructor takes the parts of an address only
    resources.callback(store.redis.close)
    return store


def _mongo(url: str, resources: ExitStack) -> Any:
    from apscheduler.jobstores.mongodb import MongoDBJobStore

    database = urlsplit(url).path.strip("/") or "apscheduler"
    store = MongoDBJobStore(database=database, host=url)
    resources.callback(store.client.close)
    return store
