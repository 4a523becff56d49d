"""Logins and wall links of a real server: kept when it is killed, and ended logins stay ended."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookies import SimpleCookie
from json import dumps, loads
from pathlib import Path
from typing import Any

OPERATOR = "Zq8v-3rWk-X5tL-of-the-operator"
CONFIG = """
[plugins.sqlite]
path = "gnomon.db"

[plugins.web]
port = {port}
tokens = [{{ name = "ann", role = "operator", token = "{token}" }}]
"""


class Browser:
    """Sends requests with a cookie, as a page of the server does."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._cookie = ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Cookie": self._cookie, "Origin": self._url, "Content-Type": "application/json"}
        data = dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                for name, morsel in SimpleCookie(answer.headers["Set-Cookie"] or "").items():
                    self._cookie = f"{name}={morsel.value}"
                return answer.status, loads(answer.read() or "null")
        except urllib.error.HTTPError as refused:
            return refused.code, loads(refused.read())

    def log_in(self, token: str) -> None:
        assert self.ask("POST", "/login", {"token": token})[0] == 200


def test_logins_survive_the_death_of_the_server_and_those_that_have_ended_stay_ended(
    start: Callable[..., Any], folder: Path, port: int
) -> None:
    (folder / "gnomon.toml").write_text(CONFIG.format(port=port, token=OPERATOR))

    def serve() -> Any:
        kernel = start("run", "--log-format", "json")
        kernel.wait_for("kernel started")
        return kernel

    server = serve()
    kept, ended, screen, dark = [Browser(port) for _ in range(4)]
    kept.log_in(OPERATOR)
    ended.log_in(OPERATOR)
    links = [kept.ask("POST", "/wall-links", {"name": name})[1] for name in ("hall", "dark")]
    screen.log_in(links[0]["secret"])
    dark.log_in(links[1]["secret"])
    cookie_of_ended = ended._cookie
    assert ended.ask("POST", "/logout")[0] == 200
    ended._cookie = cookie_of_ended
    assert kept.ask("DELETE", f"/wall-links/{links[1]['link']['id']}")[0] == 200

    server.send(signal.SIGKILL)
    server.ends()
    serve()

    today = "/scheduler/stats/today"
    assert [one.ask("GET", today)[0] for one in (kept, ended, screen, dark)] == [200, 401, 200, 401]
    assert kept.ask("GET", "/session")[1]["name"] == "ann"
    assert screen.ask("GET", "/scheduler/jobs")[0] == 403
    assert [link["name"] for link in kept.ask("GET", "/wall-links")[1]] == ["wall hall"]
