"""The plugin: its configuration, the MongoDB store, and daily jobs that keep the log from growing without limit."""

from __future__ import annotations

from gnomon.conversion import Secret
from gnomon_mongo.drivers import Driver, DriverName
from gnomon_mongo.store import MongoStore
from gnomon_shared_log.store_plugin import ServerStoreConfig, ServerStorePlugin

SCHEMES = ("mongodb://", "mongodb+srv://")


class MongoPlugin(ServerStorePlugin):
    """Provides the MongoDB store, and deletes once a day what is older than `retention` and `progress_retention`."""

    class Config(ServerStoreConfig, forbid_unknown_fields=True):
        """See MongoStore. `spool_limit` is in MiB; `spool` is relative to the config file's folder."""

        uri: Secret = Secret("mongodb://127.0.0.1:27017")
        database: str | None = None
        driver: DriverName = "motor"

        def __post_init__(self) -> None:
            """Raise ValueError for an invalid value."""
            if not self.uri.reveal().startswith(SCHEMES):
                raise ValueError(f"uri: expected a connection string that begins with {' or '.join(SCHEMES)}")
            super().__post_init__()

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.store = MongoStore(
            self.config.uri.reveal(),
            self.config.database,
            driver=Driver(self.config.driver),
            **self.config.settings,
        )
