"""The job whose trigger is being called on the event loop: code of the user, which may block it."""

from __future__ import annotations


class AskedTrigger:
    """Written on the loop around each call of a trigger; the watchdog reads it in its own thread."""

    job_id: str | None = None
