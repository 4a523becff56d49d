"""What the `send` of a destination raises where a message was not accepted."""

from __future__ import annotations

from gnomon.errors import GnomonError


class DeliveryRefusedError(GnomonError):
    """A destination refuses a message for good. Raise it in the `send` of a Destination: it is not sent again."""


class DeliveryDelayedError(GnomonError):
    """A destination cannot accept a message now. Raise it in the `send` of a Destination: it is sent again.

    `after_s` is how long the destination asks to wait, such as in the header Retry-After.
    """

    def __init__(self, problem: str, after_s: float | None = None) -> None:
        super().__init__(problem)
        self.after_s = after_s
