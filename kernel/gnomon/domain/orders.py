"""Orders as they go from a kernel that follows, or a command, to the kernel that leads, and their answers."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec


def new_order_id() -> str:
    """Return an id that no other order has."""
    return secrets.token_hex(12)


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call of a method of KernelApi: `arguments` is a JSON object with its parameters by name.

    Of orders with one `id` only the first is carried out. One that `waits` may take as long as it likes, such as for
    room in a queue; any other is answered as soon as what it did is durable.
    """

    call: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    id: str = msgspec.field(default_factory=new_order_id)
    waits: bool = False


class OrderError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an order was refused: its class with the classes that this one derives from, its text and its attributes.

    `problems` are the errors of single entries of a list, by their numbers.
    """

    kinds: list[str]
    message: str
    attributes: dict[str, Any] = {}
    problems: dict[int, OrderError] = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to an order: what the method returned, as JSON, or its error."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    error: OrderError | None = None
