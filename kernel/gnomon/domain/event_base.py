"""The fields of every event, and the bases of events about kernels and jobs."""

from __future__ import annotations

from datetime import datetime

import msgspec

LOG_FORMAT = 3
"""Version of the JSON format in which events are written. Older formats are converted by the upcasters in codec.py."""


# gc=False here and on other Structs of which thousands are alive at once: JSON data has no reference cycles, and the
# garbage collector, which visits each of them repeatedly, took an eighth of the time of a burst.


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", gc=False):
    """The fields of every event.

    `stream` is an execution id, `job:<job_id>` or `kernel:<kernel_id>`; `version` counts 1..n in the stream and
    (stream, version) is unique. `position` is the event's position in the whole log, contiguous from 1; the journal
    sets it when it appends the event. `at` is aware UTC.
    """

    position: int = 0
    stream: str
    version: int
    at: datetime
    node: str
    job_id: str
    # A factory instead of a plain default, so that msgspec always writes the number. This one takes half as long as a
    # lambda.
    log_format: int = msgspec.field(default_factory=LOG_FORMAT.__int__)

    @property
    def type(self) -> str:
        """The event's name on the wire, such as `succeeded`."""
        return wire_name(type(self))

    @property
    def is_fire(self) -> bool:
        """Whether this event is the first of a fire of the schedule: it is `scheduled` or `missed` then.

        Manual runs and retries are not fires, and a run that was scheduled before it was missed has been counted then.
        """
        return False


def wire_name(event_type: type[Event]) -> str:
    """Return the name of an event class on the wire."""
    return str(event_type.__struct_config__.tag)


class KernelEvent(Event, frozen=True, kw_only=True):
    """A fact that changes no job and no run. Its stream is `kernel:<kernel_id>`, an id for each start.

    Its `job_id` is empty, unless it is an alert about a job.
    """


class JobEvent(Event, frozen=True, kw_only=True):
    """A fact about a job; its stream is `job:<job_id>`. `by_kernel` marks an act of the kernel itself.

    `order` is a digest of the order and its idempotency key, by which a repeated order is recognized.
    """

    actor: str | None = None
    by_kernel: bool = False
    reason: str | None = None
    order: str | None = None
