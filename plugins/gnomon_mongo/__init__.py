"""The MongoDB store: the log in a database that other programs may read, and a spool on disk for when it is away.

    [plugins.mongo]
    uri = { env = "MONGODB_URI" }
    database = "scheduler"
    retention = "90d"

Needs the extra `mongo`. docs/how-to/mongodb.md tells how to run it and what an outage looks like.
"""

from gnomon_mongo.plugin import MongoPlugin
from gnomon_mongo.store import MongoStore
from gnomon_mongo.writer import SpoolLimits

__all__ = ["MongoPlugin", "MongoStore", "SpoolLimits"]
