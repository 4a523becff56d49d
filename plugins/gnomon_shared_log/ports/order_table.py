"""Orders and their answers on the server, and what senders and the leader do to them; each step is one update.

    waiting ──► claimed ──► answered
       │           ├──────► abandoned    its leader ended: it may have been carried out, and is never carried out again
       │           └──────► withdrawn    its sender went away
       ├──────► withdrawn                its sender went away, or its limit was over: nothing was done
       └──────► expired                  a leader found it after its limit, counted on the server's clock

An order is claimed once. The id of the order is the key, so one that is sent again has one row and one answer. Rows are
deleted an hour after the last sign of their senders.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.orders import Order
from gnomon.errors import StoreError


class OrderState(msgspec.Struct, frozen=True):
    """How far an order is. More than one may be set: an answer counts before everything else.

    `owner` is that of the term in which it was claimed; `kept` changes with every sign of its sender; `waits` is set
    where the sender waits for its turn in a queue.
    """

    id: str
    owner: str | None = None
    answer: bytes | None = None
    is_abandoned: bool = False
    is_withdrawn: bool = False
    is_expired: bool = False
    waits: bool = False
    kept: object = None


class ClaimedOrder(msgspec.Struct, frozen=True):
    """An order that this leader has claimed; `is_late` if that was after its limit, on the server's clock."""

    order: Order
    is_late: bool


class OrderTable(Protocol):
    """The orders of one log. StoreUnavailableError where trying again may help; every step may be repeated then."""

    most_bytes: int
    """The most bytes of the arguments of an order, and of an answer."""

    async def place(self, order: Order, limit_s: float) -> None:
        """Insert an order that waits, unless one with this id is there."""

    def was_not_sent(self, exc: StoreError) -> bool:
        """Return whether this error of `place` says that nothing has reached the server."""

    async def look(self, ids: Collection[str]) -> dict[str, OrderState]:
        """Return the states of those of these orders that are there."""

    async def withdraw(self, order_id: str, *, only_waiting: bool) -> bool:
        """Withdraw an order that has no other end; return whether it was there to be withdrawn.

        `only_waiting`: not one that was claimed. Otherwise its leader finds it withdrawn, and cancels it.
        """

    async def keep(self, order_id: str) -> None:
        """Show that the sender of an order is still there: change `kept`, and put off the deletion of the row."""

    async def waiting(self, most: int) -> list[str]:
        """Return the ids of orders that wait, in the order in which they came."""

    async def claim(self, ids: Collection[str], owner: str, mark: str) -> list[ClaimedOrder]:
        """Claim those of these orders that still wait; return all that were claimed with this mark, in their order.

        Repeatable with the same mark, where the answer to an earlier attempt was lost.
        """

    async def write_answers(self, answers: Mapping[str, bytes], owner: str) -> None:
        """Answer orders that this owner has claimed, also those that were abandoned or withdrawn meanwhile."""

    async def expire(self, ids: Collection[str]) -> None:
        """Record that orders were not carried out because their limits were over."""

    async def abandon(self, owner: str, *, of_others: bool) -> None:
        """Record of orders without an end that this owner has claimed, or all others have, that they get none."""

    async def announce(self, member: KernelMember) -> None:
        """Write the row of a process that follows; it counts from now on the server's clock."""

    async def retract(self, member_id: str) -> None:
        """Delete the row of a process."""

    async def announced(self, since_s: float) -> list[KernelMember]:
        """Return the processes whose rows were written within these seconds, on the server's clock, in any order."""
