"""How a message gets to a channel: a webhook, a service of apprise, or a command."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from gnomon import DeliveryDelayedError, DeliveryRefusedError, check_answer
from gnomon.conversion import Secret
from gnomon.runners.masking import Mask
from gnomon.text import shorten
from gnomon_alerts.delivery.config import Channel
from gnomon_alerts.delivery.message import Message, to_builtins

LONGEST_ANSWER = 2_000
"""Bytes of an answer that are read: it is for the error alone."""
LONGEST_PROBLEM = 120
"""Characters of what the HTTP client says about an answer that it cannot read."""
PERMANENT_EXITS = frozenset(range(64, 79)) - {os.EX_TEMPFAIL}
"""Exit codes of a command after which it is not called again with the same message: those of sysexits.h."""
PERMANENT_SMTP = re.compile(r"\b5[0-5]\d(?:[ ,)]| 5\.)")
_STATUS = re.compile(r"\berror=(\d{3})\b")

Send = Callable[[Message], Awaitable[str | None] | str | None]
"""Sends a message; returns what the receiver answered, for `gnomon alerts test`."""


def sender_of(channel: Channel) -> Send:
    """Return the function that sends the messages of a channel; its errors have no secrets in them."""
    if channel.webhook is not None:
        return WebhookSender(channel).send
    if channel.apprise is not None:
        return AppriseSender(channel).send
    return CommandSender(channel).send


def mask_of(channel: Channel) -> Mask:
    """Return what hides the secrets of a channel: its URL, the parts of it, and its headers."""
    secrets = list[str](header.reveal() for header in channel.headers.values())
    for url in (channel.webhook, channel.apprise):
        if url is not None:
            secrets += secrets_in(url)
    return Mask(secrets)


class WebhookSender:
    """Posts messages as JSON. It follows no redirects, which would send them to another server."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._mask = channel, mask_of(channel)
        self._url = (channel.webhook or Secret("")).reveal()

    async def send(self, message: Message) -> str:
        """Post a message, and return the status of the answer."""
        headers = {name: value.reveal() for name, value in self._channel.headers.items()}
        headers = {"Idempotency-Key": message.key, "User-Agent": "gnomon-alerts", **headers}
        try:
            async with (
                aiohttp.ClientSession(trust_env=True) as session,
                session.post(self._url, json=to_builtins(message), headers=headers, allow_redirects=False) as answer,
            ):
                body = (await answer.content.read(LONGEST_ANSWER)).decode("utf-8", "replace")
                retry_after = answer.headers.get("Retry-After")
                check_answer(answer.status, retry_after=retry_after, detail=self._mask.hide(body))
                return f"HTTP {answer.status} {answer.reason or ''}".strip()
        except aiohttp.ClientResponseError as exc:
            said = shorten(" ".join(self._mask.hide(exc.message).split()), LONGEST_PROBLEM)
            raise DeliveryDelayedError(f"the answer is not valid HTTP: {said}") from None
        except (aiohttp.ClientError, ValueError) as exc:
            raise DeliveryDelayedError(self._mask.hide(f"{type(exc).__name__}: {exc}")) from None


class AppriseSender:
    """Sends messages through apprise, which knows some hundred services; it blocks, so it is called in a thread.

    Apprise logs what went wrong and returns False. The status of the server is read from that line.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel, self._mask = channel, mask_of(channel)

    def send(self, message: Message) -> str:
        """Send a message, and return the name of the service."""
        apprise: Any = importlib.import_module("apprise")
        url = (self._channel.apprise or Secret("")).reveal()
        with _LINES.of_this_thread() as lines:
            service: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
            if service is None:
                raise DeliveryRefusedError("apprise cannot use the URL of this channel")
            kinds = {"resolved": "success", "error": "failure", "critical": "failure", "warning": "warning"}
            kind = kinds.get(message.status if message.status == "resolved" else message.severity, "info")
            # Said to be text, it is escaped and keeps its lines where a service sends HTML, as mail does.
            accepted = service.notify(
                body=message.text,
                title=message.title,
                notify_type=apprise.NotifyType(kind),
                body_format=apprise.NotifyFormat.TEXT,
            )
        if not accepted:
            raise self._error(str(service.service_name or "apprise"), lines)
        return f"accepted by {service.service_name}"

    def _error(self, service: str, lines: list[str]) -> Exception:
        said = self._mask.hide(" ".join(" ".join(lines).split()))  # before it is cut: a part of a secret is not hidden
        text = f"{service}: {shorten(said, 300) or 'not accepted, and apprise does not say why'}"
        if status := _STATUS.search(said):
            try:
                check_answer(int(status[1]), detail=text)
            except (DeliveryRefusedError, DeliveryDelayedError) as exc:
                return exc
        is_mail = urlsplit((self._channel.apprise or Secret("")).reveal()).scheme in {"mailto", "mailtos"}
        if is_mail and PERMANENT_SMTP.search(said):
            return DeliveryRefusedError(text)
        return DeliveryDelayedError(text)


class CommandSender:
    """Runs a command with the message as JSON on its standard input; it blocks, so it is called in a thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._limit_s = max(channel.timeout.total_seconds() * 0.95, 0.01)
        """Shorter than the limit of the attempt, after which nobody would end the process."""

    def send(self, message: Message) -> str:
        """Run the command, and return its exit code."""
        command = self._channel.command or []
        about = {
            "GNOMON_ALERT_TITLE": message.title,
            "GNOMON_ALERT_TEXT": message.text,
            "GNOMON_ALERT_STATUS": message.status,
            "GNOMON_ALERT_SEVERITY": message.severity,
            "GNOMON_ALERT_KEY": message.key,
        }
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | about,
                start_new_session=True,
            )
        except OSError as exc:
            raise DeliveryDelayedError(f"{command[0]} cannot be started: {exc.strerror or exc}") from exc
        with process:  # closes its pipes, also after the time limit
            try:
                output, _ = process.communicate(json.dumps(to_builtins(message)).encode(), self._limit_s)
            except subprocess.TimeoutExpired:
                raise DeliveryDelayedError(f"{command[0]} did not end within {self._limit_s:g} s") from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with what it has left running
        code = process.returncode
        said = shorten(" ".join(output.decode("utf-8", "replace").split()), 200)
        if code == 0:
            return f"exit code 0: {said}" if said else "exit code 0"
        text = f"{command[0]} ended with exit code {code}" + (f": {said}" if said else "")
        raise DeliveryRefusedError(text) if code in PERMANENT_EXITS else DeliveryDelayedError(text)


class _ThreadLines(logging.Handler):
    """Keeps the lines that apprise logs in a thread while it is asked to; they have secrets, so nothing else does."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._of = threading.local()
        self._is_installed = False

    def emit(self, record: logging.LogRecord) -> None:
        lines: list[str] | None = getattr(self._of, "lines", None)
        is_about = record.levelno >= logging.WARNING or "xception" in record.msg
        if lines is not None and is_about:
            lines.append(record.getMessage())

    def of_this_thread(self) -> _Collected:
        if not self._is_installed:
            self._is_installed = True
            logger = logging.getLogger("apprise")
            logger.propagate = False
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self)
        return _Collected(self._of)


class _Collected:
    def __init__(self, of: threading.local) -> None:
        self._of = of

    def __enter__(self) -> list[str]:
        self._of.lines = lines = list[str]()
        return lines

    def __exit__(self, *_: object) -> None:
        self._of.lines = None


_LINES = _ThreadLines()


def secrets_in(url: Secret) -> Iterable[str]:
    """Yield a URL and the parts of it that may be secret."""
    text = url.reveal()
    yield text
    with suppress(ValueError):
        parts = urlsplit(text)
        yield from (one for one in (parts.password, parts.username, parts.query) if one)
        yield from (segment for segment in parts.path.split("/") if segment)
        yield from (value for _, value in parse_qsl(parts.query))
        if "." not in parts.netloc.rpartition("@")[2] and not text.startswith("http"):
            yield parts.netloc  # of services whose host is a token
