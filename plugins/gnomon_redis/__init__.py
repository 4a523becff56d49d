"""The progress tracker in Redis: what every run tells of itself, for any program that can read a key.

    [plugins.redis]
    url = { env = "REDIS_URL" }
    ttl = "1h"

The key `progress:EXECUTION_ID` holds the folded progress as JSON; the same text is published on the channel of that
name and added to the stream of the job. `gnomon_redis.client` reads it all. Needs the extra `redis`;
docs/how-to/redis.md tells what is where, and what an outage looks like.
"""

from gnomon_redis.plugin import RedisPlugin
from gnomon_redis.record import ProgressRecord

__all__ = ["ProgressRecord", "RedisPlugin"]
