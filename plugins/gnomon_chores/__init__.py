"""Chores: ready-made job functions that most deployments need, to be named in a config file.

    [[jobs]]
    id = "nightly_backup"
    func = "gnomon_chores:backup"
    cron = "0 3 * * *"
    kwargs = { database = "/srv/app/app.db", directory = "/srv/backup" }

They need no plugin section: a job that names one of them is enough. All errors derive from `ChoreError`.
"""

from gnomon_chores.errors import ChoreError
from gnomon_chores.http_request import http
from gnomon_chores.package_audit import integrity_audit
from gnomon_chores.shell_command import shell
from gnomon_chores.sqlite_backup import backup

__all__ = ["ChoreError", "backup", "http", "integrity_audit", "shell"]
