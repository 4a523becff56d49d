"""Notifications to real receivers: an HTTP server, a mail server, a command."""

from __future__ import annotations

import html
import json
import socket
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from structlog.testing import capture_logs

from gnomon import ConfigError, Job, Kernel, KernelApi
from gnomon.clock import SystemClock
from gnomon.conversion import Secret, convert
from gnomon.testing import RecordingStore, make_kernel
from gnomon_alerts import AlertsPlugin
from gnomon_alerts.delivery.config import Channel
from gnomon_alerts.delivery.trial import try_channel
from receiver import Receiver, receiving
from servers import Port, eventually

HOOK = {"name": "a", "webhook": "https://example.org/hook"}
ECHO = {"name": "a", "command": ["true"]}


def configure(**section: Any) -> AlertsPlugin:
    return AlertsPlugin(convert(section, AlertsPlugin.Config, "plugins.alerts"))


def channel(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "group_wait": 0, "interval": 0, "longest_pause": "50ms", **keys}


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


def kernel_with(plugin: AlertsPlugin, store: RecordingStore | None = None) -> Kernel:
    def work(fails: bool = True) -> None:
        if fails:
            raise ValueError("no table <b>prices</b>\nsecond line")

    jobs = [Job(id=name, func=work, tags=[tag]) for name, tag in (("export", "etl"), ("report", "web"))]
    return make_kernel(*jobs, plugins=[plugin], store=store or RecordingStore(), clock=SystemClock())


async def run(kernel: KernelApi, job_id: str = "export", **kwargs: Any) -> str:
    run = (await kernel.trigger(job_id, kwargs=kwargs)).execution.id
    await kernel.wait(run)
    return run


async def test_a_failure_and_its_end_are_posted_with_all_that_helps(receiver: Receiver) -> None:
    plugin = configure(
        channels=[channel("ops", webhook=f"{receiver.url}/hook?token=s3cret-t0ken", headers={"X-Key": "k"})]
    )
    async with kernel_with(plugin) as kernel:
        failure = await run(kernel)
        await receiver.until(lambda: receiver.to("/hook"))
        (opened,) = receiver.to("/hook")
        await run(kernel, fails=False)
        await receiver.until(lambda: len(receiver.to("/hook")) == 2)
        resolved = receiver.to("/hook")[1]
        (alert,) = plugin.alerts()

    assert (opened["status"], opened["severity"], opened["channel"]) == ("firing", "error", "ops")
    assert opened["title"] == "[error] export: failed: ValueError: no table <b>prices</b>"
    assert f"Next: gnomon runs show {failure}, then gnomon alerts ack {alert.id}" in opened["text"]
    (item,) = opened["alerts"]
    assert (item["id"], item["status"], item["job_id"]) == (alert.id, "opened", "export")
    assert (item["last_execution"], item["count"], item["rule"]) == (failure, 1, "failed")
    assert receiver.headers[0]["X-Key"] == "k"
    assert receiver.headers[0]["Idempotency-Key"] == opened["key"]
    assert (resolved["status"], resolved["alerts"][0]["status"]) == ("resolved", "resolved")
    assert resolved["title"].startswith("[resolved] export: ")


async def test_no_channel_holds_another_back_and_what_fails_is_sent_again(receiver: Receiver) -> None:
    receiver.answers = {
        "/flaky": [500, "garbage", "reset", web.Response(status=429, headers={"Retry-After": "0"}), "hang", 200],
        "/gone": [410],
        "/moved": [web.Response(status=302, text="302: Found", headers={"Location": "/well"})],
    }
    receiver.always = {"/down": 503}
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        plugin = configure(
            channels=[
                channel("flaky", webhook=f"{receiver.url}/flaky", timeout="1s"),  # one of its answers hangs
                *(channel(path, webhook=f"{receiver.url}/{path}") for path in ("gone", "moved", "down", "well")),
                channel("closed", webhook=closed),
            ]
        )
        async with kernel_with(plugin) as kernel:
            await run(kernel)
            await receiver.until(lambda: receiver.accepted_by("/flaky") and len(receiver.to("/down")) > 2)
            await eventually(lambda: "gone refused" in (plugin.problem or "") and "moved" in (plugin.problem or ""))
            assert len(receiver.accepted_by("/well")) == 1
            health = {one.name: one for one in await plugin.list_channels(None)}
            problem = plugin.problem or ""

    assert (len(receiver.to("/flaky")), len(receiver.to("/gone"))) == (6, 1)
    assert len({body["key"] for body in receiver.to("/flaky")}) == 1
    assert "channel gone refused a notification: HTTP 410" in problem
    assert "channel moved refused a notification: HTTP 302: the address redirects to another one" in problem
    assert "channel down does not accept notifications: HTTP 503" in problem
    assert (health["gone"].refused, health["down"].waiting, health["well"].problem) == (1, 1, None)
    assert health["closed"].problem is not None
    assert "Connect" in health["closed"].problem


async def test_a_refusal_is_shown_after_a_restart_until_something_is_accepted(receiver: Receiver) -> None:
    receiver.answers = {"/hook": [400]}
    store, section = RecordingStore(), {"channels": [channel("ops", webhook=f"{receiver.url}/hook")]}
    first, second = configure(**section), configure(**section)
    async with kernel_with(first, store) as kernel:
        await run(kernel)
        await eventually(lambda: first.problem)
    async with kernel_with(second, store) as kernel:
        await eventually(lambda: "HTTP 400" in (second.problem or ""))
        await run(kernel, fails=False)
        await eventually(lambda: second.problem is None)
    assert [body["status"] for body in receiver.to("/hook")] == ["firing", "resolved"]


async def test_what_was_not_sent_before_a_stop_is_sent_after_it(receiver: Receiver) -> None:
    receiver.always = {"/hook": 503}
    store, section = RecordingStore(), {"channels": [channel("ops", webhook=f"{receiver.url}/hook")]}
    async with kernel_with(configure(**section), store) as kernel:
        await run(kernel)
        await receiver.until(lambda: receiver.to("/hook"))
    receiver.always = {}
    async with kernel_with(configure(**section), store):
        await receiver.until(lambda: receiver.accepted)
    async with kernel_with(configure(**section), store) as kernel:
        await run(kernel, "report")
        await receiver.until(lambda: len(receiver.accepted) == 2)
    assert [[item["job_id"] for item in body["alerts"]] for _, body in receiver.accepted] == [["export"], ["report"]]


async def test_routes_choose_the_channels(receiver: Receiver) -> None:
    plugin = configure(
        channels=[channel(name, webhook=f"{receiver.url}/{name}") for name in ("etl", "all", "critical")],
        routes=[
            {"channels": ["etl", "all"], "tags": ["etl"]},
            {"channels": ["critical"], "severity": "critical"},
        ],
    )
    async with kernel_with(plugin) as kernel:
        await run(kernel, "export")
        await receiver.until(lambda: receiver.to("/etl") and receiver.to("/all"))
        await run(kernel, "report")  # no route fits
        await receiver.until(lambda: receiver.to("/critical") and len(receiver.to("/all")) == 2)
    found = {path: [body["alerts"][0]["job_id"] for body in receiver.to(path)] for path in ("/etl", "/critical")}
    assert found == {"/etl": ["export", "report"], "/critical": ["report"]}


async def test_a_command_receives_the_message_on_its_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "message.json"
    script = f'cat > {file}.part && printf %s "$GNOMON_ALERT_TITLE" > {file}.title && mv {file}.part {file}'
    plugin = configure(channels=[channel("script", command=["sh", "-c", script])])
    async with kernel_with(plugin) as kernel:
        await run(kernel)
        await eventually(file.exists)
    body = json.loads(file.read_text())
    assert body["alerts"][0]["job_id"] == "export"
    assert Path(f"{file}.title").read_text() == body["title"]


@pytest.mark.parametrize(
    ("command", "is_refused", "said"),
    [
        (["sh", "-c", "echo no such room; exit 67"], True, "exit code 67: no such room"),
        (["sh", "-c", "exit 75"], False, "exit code 75"),
        (["sh", "-c", "exit 1"], False, "exit code 1"),
        (["/nowhere/at-all"], False, "cannot be started: No such file or directory"),
        (["sh", "-c", "sleep 60 & sleep 60"], False, " within "),
    ],
)
async def test_the_exit_code_of_a_command_decides(command: list[str], is_refused: bool, said: str) -> None:
    found = await try_channel(Channel(name="script", command=command, timeout=convert_duration("1s")))
    assert not found.is_accepted
    assert said in found.text
    assert ("would not send it again" in found.text) is is_refused


class Mailbox:
    """A handler of aiosmtpd: keeps mails, and answers as it is asked to."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answer = "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        return self.answer


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, str]]:
    pytest.importorskip("apprise")  # here, and not within the time limit of the first message
    mailbox = Mailbox()
    port = Port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port.number, ready_timeout=60)
    controller.start()
    yield mailbox, f"mailto://127.0.0.1:{port.number}?from=gnomon@example.org&to=ops@example.org&mode=insecure"
    controller.stop()
    port.release()


@pytest.mark.parametrize("as_html", [False, True])
async def test_a_mail_arrives_with_subject_and_the_lines_of_its_text(mail: tuple[Mailbox, str], as_html: bool) -> None:
    """An error is text, also in a mail of HTML: a tag in it is shown and not obeyed."""
    mailbox, url = mail
    plugin = configure(channels=[channel("mail", apprise=f"{url}&format=html" if as_html else url)])
    async with kernel_with(plugin) as kernel:
        failure = await run(kernel)
        await eventually(lambda: mailbox.mails)
    (found,) = mailbox.mails
    parts = {
        part.get_content_type(): part.get_payload(decode=True).decode()
        for part in found.walk()
        if not part.is_multipart()
    }
    assert str(found["Subject"]) == "[error] export: failed: ValueError: no table <b>prices</b>"
    assert set(parts) == ({"text/plain", "text/html"} if as_html else {"text/plain"})
    lines = parts["text/plain"].splitlines() if not as_html else parts["text/html"].split("<br")
    shown = html.unescape("\n".join(lines)).replace("\N{NO-BREAK SPACE}", " ")
    assert "export: failed: ValueError: no table <b>prices</b>" in shown
    assert f"gnomon runs show {failure}" in shown
    assert len(lines) >= 5
    assert ("<b>" in "".join(lines)) is not as_html


@pytest.mark.parametrize(("answer", "again"), [("550 5.1.1 no such user", False), ("451 4.3.0 try later", True)])
async def test_a_mail_server_may_refuse_for_good_or_for_now(
    answer: str, again: bool, mail: tuple[Mailbox, str]
) -> None:
    mailbox, url = mail
    mailbox.answer = answer
    found = await try_channel(Channel(name="mail", apprise=Secret(url)))
    assert not found.is_accepted
    assert ("would send it again" in found.text) is again, found.text


async def test_secrets_appear_neither_in_logs_nor_in_health(receiver: Receiver, lines: list[Any]) -> None:
    secret, header = "T0KEN-in-the-path", "key-in-a-header"
    reflected = web.Response(status=401, text=f"wrong: {receiver.url}/{secret} and {header}")
    receiver.always = {f"/{secret}": reflected}
    bad = f"http://{secret}.invalid/{secret}"
    plugin = configure(
        channels=[
            channel("ops", webhook=f"{receiver.url}/{secret}", headers={"X-Key": header}),
            channel("nowhere", webhook=bad),
            channel("json", apprise=f"jsons://user:{secret}@127.0.0.1:1/{secret}"),
        ]
    )
    async with kernel_with(plugin) as kernel:
        await run(kernel)
        await eventually(lambda: all(name in (plugin.problem or "") for name in ("ops", "nowhere", "json")))
        told = f"{plugin.problem} {kernel.health()} {await plugin.list_channels(None)} {plugin.config}"
    assert "HTTP 401" in told
    for text in (told, str(lines)):
        assert secret not in text
        assert header not in text


async def test_a_heartbeat_pings_and_reports_a_degraded_kernel(receiver: Receiver) -> None:
    receiver.always = {"/down": 503}
    plugin = configure(
        heartbeat={"url": f"{receiver.url}/ping/uuid", "interval": "1s"},
        channels=[channel("down", webhook=f"{receiver.url}/down")],
    )
    async with kernel_with(plugin) as kernel:
        await receiver.until(lambda: receiver.to("/ping/uuid"))
        await run(kernel)
        await receiver.until(lambda: receiver.to("/ping/uuid/fail"))
    assert "channel down does not accept notifications" in receiver.to("/ping/uuid/fail")[0]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"channels": [{"name": "a"}]}, "must have one of webhook, apprise and command, got none of them"),
        ({"channels": [{"name": "a", "webhook": "ops"}]}, "webhook must be a URL"),
        ({"channels": [{"name": "a", "webhook": "http://127.0.0.1:99999/"}]}, "webhook must be a URL"),
        ({"channels": [{"name": "a", "webhook": "http://:80/hook"}]}, "webhook must be a URL"),
        ({"channels": [HOOK | {"headers": {"X Key:": "k"}}]}, "the header 'X Key:' cannot be sent"),
        ({"channels": [HOOK | {"headers": {"X-Key": "two\nlines"}}]}, "the header 'X-Key' cannot be sent"),
        ({"channels": [{"name": "a", "apprise": "nonsense://x"}]}, "apprise cannot use its URL"),
        ({"channels": [ECHO | {"timezone": "Mars"}]}, "Mars"),
        ({"channels": [ECHO, ECHO]}, "different names"),
        ({"routes": [{"channels": ["b"]}]}, "channel 'b', which does not exist; there are no channels"),
        (
            {"channels": [{"name": "a", "command": ["true"], "quiet": [{"from": "25:00", "to": "1:00"}]}]},
            "time of the day",
        ),
        ({"heartbeat": {"url": "x"}}, "url must be a URL"),
    ],
)
def test_a_config_that_could_send_nothing_is_refused(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        configure(**section)


def convert_duration(text: str) -> Any:
    from gnomon.durations import Duration

    return Duration.parse(text)


async def test_a_test_notification_tells_what_came_back(receiver: Receiver) -> None:
    receiver.answers = {"/hook": [200, 403, 500]}
    found = [await try_channel(Channel(name="ops", webhook=Secret(f"{receiver.url}/hook"))) for _ in range(3)]
    assert [one.is_accepted for one in found] == [True, False, False]
    assert "channel ops (webhook) accepted the test in" in found[0].text
    assert "HTTP 200 OK" in found[0].text
    assert "channel ops (webhook) refused the test: HTTP 403: as asked" in found[1].text
    assert "would send it again" in found[2].text
    assert all(body["is_test"] for body in receiver.to("/hook"))
