"""The alerts of a log that is open for reading, beside a running kernel or without one."""

from __future__ import annotations

from gnomon import Store
from gnomon.stores.reading import read_log
from gnomon_alerts.book import Book
from gnomon_alerts.checkpoint import CHECKPOINT, UnreadableStateError, from_checkpoint


async def read_book(store: Store) -> Book:
    """Return the book of a log, up to its end: the saved one, and what came after it."""
    book = Book()
    checkpoint = await store.checkpoint(CHECKPOINT)  # before the head, which a running kernel moves on
    head = await store.head()
    if checkpoint is not None:
        try:
            book = from_checkpoint(checkpoint, head).book
        except UnreadableStateError:
            book = Book()  # folded again from the events that are left
    async for page in read_log(store, book.position, head):
        for event in page:
            book.apply(event)
    return book
