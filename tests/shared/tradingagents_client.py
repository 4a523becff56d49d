"""A client of the scheduler of TradingAgents-CN, written from its contract: every call, and the types of its answers.

The types are those that its pages declare: an optional field is a value or absent, never null. `lenient` accepts null
for it too, as the clean API sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import aiohttp
import msgspec
from msgspec import UNSET, Meta, UnsetType

T = TypeVar("T")
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$")]
Id = Annotated[str, Meta(pattern="^[0-9a-f]{24}$")]
Count = Annotated[int, Meta(ge=0)]
Percentage = Annotated[float, Meta(ge=0, le=100)]
Status = Literal["running", "success", "failed", "missed"]
STATUSES: tuple[Status, ...] = ("running", "success", "failed", "missed")


class Job(msgspec.Struct, kw_only=True):
    """A job in the list, or with its definition."""

    id: str
    name: str
    next_run_time: Moment | None
    paused: bool
    trigger: str
    display_name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    func: str | UnsetType = UNSET
    args: list[Any] | UnsetType = UNSET
    kwargs: dict[str, Any] | UnsetType = UNSET
    misfire_grace_time: Count | UnsetType = UNSET
    max_instances: Count | UnsetType = UNSET


class JobAction(msgspec.Struct, kw_only=True):
    """What an operator did."""

    job_id: str
    action: str
    status: Literal["success", "failed"]
    error_message: str | UnsetType = UNSET
    timestamp: Moment


class Execution(msgspec.Struct, kw_only=True):
    """A run."""

    id: Id = msgspec.field(name="_id")
    job_id: str
    job_name: str
    status: str
    scheduled_time: Moment
    execution_time: float | UnsetType = UNSET
    timestamp: Moment
    return_value: str | UnsetType = UNSET
    error_message: str | UnsetType = UNSET
    traceback: str | UnsetType = UNSET
    progress: Percentage | UnsetType = UNSET
    progress_message: str | UnsetType = UNSET
    current_item: str | UnsetType = UNSET
    total_items: Count | UnsetType = UNSET
    processed_items: Count | UnsetType = UNSET
    updated_at: Moment | UnsetType = UNSET
    is_manual: bool | UnsetType = UNSET
    cancel_requested: bool | UnsetType = UNSET


class StrictExecution(Execution, kw_only=True):
    """A run whose status the pages know."""

    status: Status


class Newest(msgspec.Struct, kw_only=True):
    """The newest run of a job."""

    id: Id | UnsetType = msgspec.field(name="_id", default=UNSET)
    status: str
    timestamp: Moment
    execution_time: float | UnsetType = UNSET


class ExecutionStats(msgspec.Struct, kw_only=True):
    """The statistics of a job."""

    total: Count
    success: Count
    failed: Count
    missed: Count
    avg_execution_time: float | UnsetType = UNSET
    last_execution: Newest | UnsetType = UNSET


class SchedulerStats(msgspec.Struct, kw_only=True):
    """A summary."""

    total_jobs: Count
    running_jobs: Count
    paused_jobs: Count
    scheduler_running: bool
    scheduler_state: int


class Health(msgspec.Struct, kw_only=True):
    """The health of the scheduler."""

    status: str
    running: bool
    state: int
    timestamp: Moment


class History(msgspec.Struct, kw_only=True):
    """A page of actions."""

    history: list[JobAction]
    total: Count
    limit: int
    offset: Count


class Executions(msgspec.Struct, kw_only=True):
    """A page of runs."""

    items: list[StrictExecution]
    total: Count
    limit: int
    offset: Count


class LenientExecutions(Executions, kw_only=True):
    """A page of runs, also of those whose status the pages do not know."""

    items: list[Execution]  # type: ignore[assignment]


class Envelope(msgspec.Struct, kw_only=True):
    """The wrapper of every answer."""

    success: bool
    data: msgspec.Raw
    message: str
    timestamp: Moment
    code: int | UnsetType = UNSET


class Refused(Exception):
    """An answer that is not a 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class OldClient:
    """The calls of the old pages and scripts. `message` is that of the latest answer."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: str, *, lenient: bool = False, language: str = "en-US"
    ) -> None:
        self._session = session
        self._url = url
        self._lenient = lenient
        self.message = ""
        self.headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Cache-Control": "no-cache",
            "X-Request-ID": "req_1",
            "Accept-Language": language,
        }

    async def call(
        self, method: str, path: str, into: type[T], params: Mapping[str, str] | None = None, data: str | None = None
    ) -> T:
        """Send a request as the old pages do, and check the answer; Refused unless it is a 200."""
        async with self._session.request(
            method, f"{self._url}/api{path}", params=params, data=data, headers=self.headers
        ) as response:
            body = await response.read()
        envelope = msgspec.json.decode(body, type=Envelope)
        assert envelope.success is (response.status < 300), body
        self.message = envelope.message
        if response.status != 200 and not (self._lenient and response.status == 202):
            raise Refused(response.status, envelope.message)
        if not self._lenient:
            return msgspec.json.decode(envelope.data, type=into)
        page: Any = LenientExecutions if into is Executions else Execution if into is StrictExecution else into
        checked: T = msgspec.convert(_without_nulls(msgspec.json.decode(envelope.data)), page)
        return checked

    async def get(self, path: str, into: type[T], **params: str) -> T:
        """Send a GET."""
        return await self.call("GET", path, into, params)

    async def post(self, path: str, data: str | None = None, into: Any = Any, **params: str) -> Any:
        """Send a POST; `data` is the text of its body."""
        return await self.call("POST", path, into, params, data)

    async def put(self, path: str, data: Any) -> None:
        """Send a PUT with a JSON body."""
        await self.call("PUT", path, Any, None, msgspec.json.encode(data).decode())

    async def delete(self, path: str) -> None:
        """Send a DELETE."""
        await self.call("DELETE", path, Any)


def _without_nulls(value: Any) -> Any:
    """Leave out null fields, but for the one that may be null; texts in place of other values of a body's result."""
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kept = {
        name: _without_nulls(entry) for name, entry in value.items() if entry is not None or name == "next_run_time"
    }
    return {name: str(entry) if name == "return_value" else entry for name, entry in kept.items()}
