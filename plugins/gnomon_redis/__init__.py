"""The progress tracker: publishes the progress of every run in Redis, for any program that can read a key.

    [plugins.redis]
    url = { env = "REDIS_URL" }
    ttl = "1h"

The key `progress:EXECUTION_ID` holds the folded progress as JSON; the same text is published on the channel of that
name and added to the stream of the job. `gnomon_redis.client` reads all of it. Requires the extra `redis`;
docs/how-to/redis.md describes the keys and what happens in an outage.
"""

from gnomon_redis.plugin import RedisPlugin
from gnomon_redis.progress_record import ProgressRecord

__all__ = ["ProgressRecord", "RedisPlugin"]
