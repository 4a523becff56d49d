"""The log of the deployment on this machine, opened for reading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gnomon.cli.output.console import echo
from gnomon.deployment.assembly import Deployment
from gnomon.deployment.config import Config
from gnomon.errors import GnomonError, NoLogError
from gnomon.ports import Store
from gnomon.stores.memory import MemoryStore

EMPTY_LOG = "nothing has run yet; start a kernel with `gnomon run`"


def find_store(config: Config) -> Store:
    """Return the store of a deployment without importing its jobs: the log stays readable when they are broken."""
    return require_shared(Deployment.store_only(config))


def require_shared(store: Store) -> Store:
    """Return the store, or raise GnomonError if only the process of its kernel can read it."""
    if type(store) is MemoryStore:  # a subclass may keep its log elsewhere
        raise GnomonError(
            "the log of this deployment is in the memory of its kernel, so no other process can read it: enable the "
            "plugin web and use --url, or keep the log in a store such as sqlite"
        )
    return store


@asynccontextmanager
async def open_log(store: Store, *, to_prove: bool = False) -> AsyncIterator[Store]:
    """Open a log for reading, with or without a running kernel; a log that does not exist yet reads as empty.

    `to_prove` something, there has to be a log, with an event: NoLogError. Where a kernel would refuse the log because
    it has lost events, print its words.
    """
    try:
        await store.open(read_only=True)
    except NoLogError:
        if to_prove and store.loss is None:
            raise
        loss, store = store.loss, MemoryStore()
        store.loss = loss
        await store.open(read_only=True)
    try:
        if store.loss is not None:
            echo(store.loss.refusal, err=True)
        elif await store.head() == 0:
            if to_prove:
                raise NoLogError(f"the log has no event, so there is nothing to prove: {EMPTY_LOG}")
            echo(EMPTY_LOG, err=True)
        yield store
    finally:
        await store.close()
