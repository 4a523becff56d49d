"""Sends tasks to the broker from two threads, so that a slow or absent broker holds up nothing else.

What waits is sent together, in one round trip where the broker has such a thing (Redis). A task that the broker does
not take is tried again until it is there; a task that it refuses for what is in it is reported at once. Sending a task
twice is harmless: a worker claims the id of the execution before it begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import amqp.exceptions
import kombu.exceptions
import msgspec
from celery import Celery
from redis import exceptions as redis_errors

from gnomon.backoff import Backoff
from gnomon.logs import get_logger
from gnomon_celery.celery_app import make_app
from gnomon_celery.config import CeleryConfig
from gnomon_celery.messages import TASK
from gnomon_celery.problems import broker_problem, cause_of, detail

log = get_logger("gnomon.celery")

THREADS = 2
"""While one waits for the reply of the broker, the other prepares its message: three were not faster."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
"""The pauses between attempts while the broker is away."""
COMPRESSED_FROM = 32 * 1024
"""Characters from which a message is compressed."""
MOST_AT_ONCE = 100
MOST_CHARACTERS_AT_ONCE = 1_000_000
"""What is sent together, at most: when the connection fails meanwhile, all of it is sent again."""


class TaskMessage(msgspec.Struct, eq=False):
    """A task on its way to the broker.

    `is_dropped` is set when it need not be sent any more; `may_be_sent` when the broker may have it.
    """

    execution_id: str
    job_id: str
    assignment: str
    queue: str
    options: dict[str, Any] = {}
    is_dropped: bool = False
    may_be_sent: bool = False


class Refused(msgspec.Struct, frozen=True):
    """Why the broker, or the serialiser, does not take a message, however often it is sent."""

    error_type: str
    message: str


class Sender:
    """Owns the threads. Built on the kernel's loop, on which it calls back.

    `on_sent` receives each message that the broker has, or will never take, with the reason. `problem` is a sentence
    while the broker is away.
    """

    def __init__(self, config: CeleryConfig, on_sent: Callable[[TaskMessage, Refused | None], None]) -> None:
        self._config = config
        self._on_sent = on_sent
        self._loop = asyncio.get_running_loop()
        self._app: Celery | None = None
        self._waiting: queue.SimpleQueue[TaskMessage | Callable[[Celery], None] | None] = queue.SimpleQueue()
        self._done: deque[tuple[TaskMessage, Refused | None]] = deque()
        self._is_woken = False
        self._stopping = threading.Event()
        self._failing: set[int] = set()
        self._lock = threading.Lock()
        self.problem: str | None = None

    def start(self) -> None:
        """Start the threads."""
        for number in range(1, THREADS + 1):
            threading.Thread(target=self._work, args=(number,), name=f"gnomon celery {number}", daemon=True).start()

    def stop(self) -> None:
        """End the threads after their current attempts; what is not sent stays scheduled in the log."""
        self._stopping.set()
        for _ in range(THREADS):
            self._waiting.put(None)

    def send(self, message: TaskMessage) -> None:
        """Queue a message."""
        self._waiting.put(message)

    async def ask(self, question: Callable[[Celery], Any]) -> Any:
        """Call a function with the application, in one of the threads; raise what it raises."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def call(app: Celery) -> None:
            try:
                result = question(app)
            except Exception as exc:  # noqa: BLE001 - it is raised again where the answer is awaited
                self._post(_fail, future, exc)
            else:
                self._post(_succeed, future, result)

        self._waiting.put(call)
        return await future

    # --- in the threads ---

    def _work(self, number: int) -> None:
        link = Link(self._application())
        try:
            while (item := self._waiting.get()) is not None and not self._stopping.is_set():
                if isinstance(item, TaskMessage):
                    self._deliver_all(number, link, self._with_next(item))
                else:
                    item(link.app)
        finally:
            link.close()

    def _with_next(self, message: TaskMessage) -> list[TaskMessage]:
        """Return a message, and those that wait behind it and are to be sent with it."""
        found, size = [message], len(message.assignment)
        with contextlib.suppress(queue.Empty):
            while len(found) < MOST_AT_ONCE and size < MOST_CHARACTERS_AT_ONCE:
                item = self._waiting.get_nowait()
                if not isinstance(item, TaskMessage):
                    self._waiting.put(item)  # a question, or the end: after what it waited behind
                    break
                found.append(item)
                size += len(item.assignment)
        return found

    def _application(self) -> Celery:
        with self._lock:
            if self._app is None:
                app = self._app = make_app(self._config, sends_only=True)
                app.finalize()
                app.amqp.send_task_message  # noqa: B018 - it is built on first use, which two threads must not do at once
            return self._app

    def _deliver_all(self, number: int, link: Link, messages: list[TaskMessage]) -> None:
        """Send messages together; where that fails, one by one, which tells those that the broker refuses."""
        if len(messages) > 1 and self._sent_together(link, messages):
            self._note(number, None)
            return
        for message in messages:
            self._deliver(number, link, message)

    def _sent_together(self, link: Link, messages: list[TaskMessage]) -> bool:
        sent, refused = list[TaskMessage](), list[tuple[TaskMessage, Refused]]()
        try:
            link.connect()
            with link.batch():
                for message in messages:
                    message.may_be_sent = True
                    if not self._is_wanted(message):  # read after the other was set, as the loop does with both
                        continue
                    try:
                        link.publish(message)
                        sent.append(message)
                    except (kombu.exceptions.EncodeError, TypeError) as exc:
                        refused.append((message, _refusal(exc, message, self._config)))
        except Exception:  # noqa: BLE001 - drivers of brokers raise what they like; each message shows it again
            link.close()
            return False
        for message in sent:
            self._report(message, None)
        for message, why in refused:
            self._report(message, why)
        return True

    def _deliver(self, number: int, link: Link, message: TaskMessage) -> None:
        """Send one message, again and again while the broker is away."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.5)
        while self._is_wanted(message):
            is_connected = False
            try:
                link.connect()
                is_connected = message.may_be_sent = True
                if not self._is_wanted(message):  # read after the other was set, as the loop does with both
                    return
                link.publish(message)
            except Exception as exc:  # noqa: BLE001 - drivers of brokers raise what they like
                link.close()
                if is_connected and _is_refusal(exc):
                    self._report(message, _refusal(exc, message, self._config))
                    return
                self._note(number, broker_problem(exc, self._config))
                self._stopping.wait(backoff.next())
            else:
                self._note(number, None)
                self._report(message, None)
                return

    def _is_wanted(self, message: TaskMessage) -> bool:
        return not (message.is_dropped or self._stopping.is_set())

    def _report(self, message: TaskMessage, refused: Refused | None) -> None:
        self._done.append((message, refused))
        if not self._is_woken:
            self._is_woken = True
            self._post(self._call_back)

    def _note(self, number: int, problem: str | None) -> None:
        with self._lock:
            (self._failing.discard if problem is None else self._failing.add)(number)
            if problem is None and self._failing:
                return  # the other thread has not noticed yet that the broker is back
            if problem == self.problem:
                return
            if problem is None or self.problem is None:
                log_at = log.error if problem is not None else log.info
                log_at("the broker is away" if problem is not None else "the broker is back", problem=problem)
            self.problem = problem

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for it
            self._loop.call_soon_threadsafe(call, *args)

    # --- on the loop ---

    def _call_back(self) -> None:
        self._is_woken = False
        while self._done:
            self._on_sent(*self._done.popleft())


def connect(app: Celery) -> Any:
    """Return a connection of kombu to the first of the brokers that responds; raise what it raises."""
    connection = app.connection_for_write()
    try:
        # Kombu's own way, `default_channel`, would try for ever, and say nothing meanwhile.
        connection.ensure_connection(max_retries=1 + len(connection.alt), interval_start=0, interval_step=0)
    except Exception:
        connection.release()
        raise
    return connection


class Link:
    """A thread's own connection to the broker."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._connection: Any = None
        self._producer: Any = None
        self._declared: set[str] = set()

    def connect(self) -> None:
        """Connect, if there is no connection."""
        if self._connection is None:
            self._connection = connect(self.app)
            self._producer = self.app.amqp.Producer(self._connection, auto_declare=False)
            self._declared.clear()

    def publish(self, message: TaskMessage) -> None:
        """Send one message, and wait until the broker has confirmed it where it does so."""
        self.app.send_task(
            TASK,
            kwargs={"assignment": message.assignment},
            task_id=message.execution_id,
            producer=self._producer,
            queue=message.queue,
            declare=[] if message.queue in self._declared else None,  # once for each connection, as Celery does
            ignore_result=True,
            retry=False,
            # What Celery's events and its monitors show: no arguments, which may be anyone's.
            argsrepr="()",
            kwargsrepr=f"{{'job': {message.job_id!r}}}",
            compression="gzip" if len(message.assignment) >= COMPRESSED_FROM else None,
            **message.options,
        )
        self._declared.add(message.queue)

    def batch(self) -> AbstractContextManager[Any]:
        """Return the context in which publications are sent together, at its end, where the transport can."""
        batch: AbstractContextManager[Any] = self._producer.batch()
        return batch

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.release()


def _is_refusal(exc: Exception) -> bool:
    """Whether an error of a publication is about the message itself, so that sending it again is of no use."""
    cause = cause_of(exc)
    if isinstance(cause, redis_errors.ResponseError):
        return str(cause).startswith("WRONGTYPE")
    refusals = (kombu.exceptions.EncodeError, TypeError, amqp.exceptions.ChannelError, amqp.exceptions.MessageNacked)
    return isinstance(cause, refusals)


def _refusal(exc: Exception, message: TaskMessage, config: CeleryConfig) -> Refused:
    cause = cause_of(exc)
    where, found = f"the broker {config.broker_address}", detail(cause, config)
    if isinstance(cause, kombu.exceptions.EncodeError | TypeError):
        text = f"the task could not be written for {where}: {found}"
    elif isinstance(cause, redis_errors.ResponseError):
        text = f"{where} has something else than a queue under the name {message.queue!r}: choose another `queue`"
    else:
        text = (
            f"{where} refuses the task for queue {message.queue!r}: {found}; compare the queue's properties, and the "
            "user's permissions, with what Celery declares"
        )
    return Refused(type(cause).__name__, text)


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], exc: Exception) -> None:
    if not future.done():
        future.set_exception(exc)
