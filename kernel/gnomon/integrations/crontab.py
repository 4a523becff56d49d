"""Reads a crontab, of a user or of the system, as jobs that run its commands with `gnomon_chores:shell`.

The lines mean what Debian's cron does with them: a run begins while the one before goes on, a time at which no cron ran
is lost, `%` begins the standard input, and variables are in force from their line on.
"""

from __future__ import annotations

import getpass
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnomon.errors import TriggerError
from gnomon.integrations.job_import import JobImport
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.timezones import parse_timezone

VARIABLE = re.compile(r"""\s*(?P<name>"[^"]*"|'[^']*'|[A-Za-z_]\w*)\s*=\s*(?P<value>.*?)\s*""")
SPACE = re.compile(r"[ \t]+")
PERCENT = re.compile(r"(?<!\\)%")
REBOOT = "@reboot"
ZONES = ("CRON_TZ", "TZ")
MAIL = ("MAILTO", "MAILFROM")
CARRIERS = re.compile(
    r"(?:sudo|nice|ionice|nohup|env|exec|time|timeout|flock|test|\[|cd|-.*|[\d.]+[smhd]?|\w+=.*"
    r"|(?:python|perl|ruby|php|node|sh|bash|dash|zsh)[\d.]*)",
    re.ASCII,
)
"""Words before the one that says what a line is about: wrappers, options, numbers, assignments and interpreters."""
POLICIES: dict[str, Any] = {"catch_up": "none", "overlap": "allow"}
"""What cron does about late fires and about runs that go on."""


def read_crontab(text: str, *, source: str, has_users: bool = False, timezone: str = "UTC") -> JobImport:
    """Return the jobs of a crontab; with `has_users` there is a user before each command, as in /etc/crontab.

    `timezone` is that of lines without CRON_TZ. Each refused line has its number and the reason.
    """
    found = JobImport(source)
    reader = _Reader(found, has_users=has_users, timezone=timezone)
    for number, line in enumerate(text.splitlines(), 1):
        reader.read(number, line)
    if found.jobs:
        found.note(
            'overlap = "allow" and catch_up = "none" are what cron does: without these keys a run is skipped while the '
            "last one goes on, and a fire that was missed is caught up"
        )
    return found


class _Reader:
    def __init__(self, found: JobImport, *, has_users: bool, timezone: str) -> None:
        self._found = found
        self._has_users = has_users
        self._timezone = timezone
        self._variables: dict[str, str] = {}
        self._comment: list[str] = []

    def read(self, number: int, line: str) -> None:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            text = stripped.lstrip("#").strip()
            self._comment = [*self._comment, text] if text and not _is_entry(text) else []
        elif (variable := VARIABLE.fullmatch(line)) is not None:
            self._set(number, _unquoted(variable["name"]), _unquoted(variable["value"]))
            self._comment = []
        else:
            self._entry(f"line {number}", stripped.removeprefix("-"), " ".join(self._comment))
            self._comment = []

    def _set(self, number: int, name: str, value: str) -> None:
        if name in MAIL:
            self._found.note(f"{name} is not taken: the output of each run is in its log; see the guide about alerts")
        elif name in ZONES:
            try:
                parse_timezone(value)
            except TriggerError as exc:
                self._found.refuse(f"line {number}", f"{name} is not taken: {exc}")
                return
        self._variables[name] = value

    def _entry(self, place: str, line: str, comment: str) -> None:
        schedule, rest = _split(line, 1 if line.startswith("@") else 5)
        user = ""
        if self._has_users:
            user, rest = _split(rest, 1)
        if not rest:
            expected = "a schedule, a user and a command" if self._has_users else "a schedule and a command"
            self._found.refuse(place, f"{line!r} has no command: expected {expected}")
            return
        command, stdin = _command(rest)
        keys: dict[str, Any] = {"func": "gnomon_chores:shell", "kwargs": self._arguments(command, stdin)}
        keys |= {"at_start": True} if schedule.lower() == REBOOT else {"cron": schedule}
        zone = next((self._variables[name] for name in ZONES if name in self._variables), None)
        if zone is not None and zone != self._timezone and "cron" in keys:
            keys["timezone"] = zone
        if comment:
            keys["description"] = comment
        job_id = self._found.free_id(_name(command))
        job = self._found.take(place, {"id": job_id, **keys, **POLICIES}, self._timezone)
        if job is not None and user and user != getpass.getuser():
            self._found.note(f"cron runs it as {user!r}, a kernel as its own user: sudo -u {user} is one way", job_id)

    def _arguments(self, command: str, stdin: str | None) -> dict[str, Any]:
        line = command if stdin is None else f"printf %s {shlex.quote(stdin)} | {{ {command}\n}}"
        hidden = {"SHELL", "CRON_TZ", *MAIL}
        env = {name: value for name, value in self._variables.items() if name not in hidden}
        arguments: dict[str, Any] = {"argv": [self._variables.get("SHELL", "/bin/sh"), "-c", line]}
        if env:
            arguments["env"] = env
        home = self._variables.get("HOME") or (str(Path.home()) if not self._has_users else None)
        return arguments | ({"cwd": home} if home and Path(home).is_dir() else {})


def _split(line: str, count: int) -> tuple[str, str]:
    """Return the first words of a line, and the rest of it."""
    words = SPACE.split(line, count)
    return " ".join(words[:count]), words[count] if len(words) > count else ""


def _command(text: str) -> tuple[str, str | None]:
    """Return the command of an entry, and its standard input, which begins at the first `%` without a backslash."""
    command, *lines = PERCENT.split(text)
    parts = [part.replace(r"\%", "%") for part in (command, *lines)]
    return parts[0].strip(), "\n".join(parts[1:]) + "\n" if lines else None


def _name(command: str) -> str:
    """Return a name for a job: that of the program or script, without its folder and its extension."""
    words = [Path(word).stem for word in _words(command)]
    return next((word for word in words if word and not CARRIERS.fullmatch(word)), words[0] if words else "job")


def _words(command: str) -> Iterator[str]:
    try:
        yield from shlex.split(command.rsplit(";", maxsplit=1)[-1].rsplit("&&", maxsplit=1)[-1])
    except ValueError:  # an open quote
        yield from command.split()


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _is_entry(text: str) -> bool:
    """Return whether a comment is an entry that was switched off: it describes nothing."""
    schedule, rest = _split(text, 1 if text.startswith("@") else 5)
    if not rest:
        return False
    try:
        CronTrigger(schedule, parse_timezone("UTC"))
    except TriggerError:
        return False
    return True
