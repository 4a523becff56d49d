"""The embedded store: one SQLite file beside the program, durable, with nothing to install or to run.

    [plugins.sqlite]
    path = "gnomon.db"
    retention = "90d"

The file is a plain SQLite database; read it with any tool, also beside a running kernel, and leave writing to it.
"""

from gnomon_sqlite.plugin import SqlitePlugin
from gnomon_sqlite.store import SqliteStore

__all__ = ["SqlitePlugin", "SqliteStore"]
