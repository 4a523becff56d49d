"""The channel from the workers back to the kernel: its keys in Redis, and the scripts that change them.

All keys of a log share a hash tag, so that they lie together in a cluster. Times are those of the Redis server: the
clocks of the machines are never compared.

| key | what it holds |
|---|---|
| `{P}:claim:ID` | who may run the body: `TOKEN WORKER`, or `withdrawn`. The first to set it has it |
| `{P}:stream` | what the workers report: entries with one field, a batch of messages |
| `{P}:alive` | the runs whose bodies are running, with the time of their last heartbeat in ms |
| `{P}:cancel` | the runs that were asked to stop |
| `{P}:look` | the runs that an operator looks into, with the token of the question |
| `{P}:answers:ID:N` | the answer to an order of a body |
| `{P}:reader` | the term of the kernel that reads the stream: only it deletes |
| `PREFIX:workers`, `PREFIX:worker:NAME` | the workers, with their last heartbeat, and what each says of itself |

Every script can be repeated after its reply was lost.
"""

from __future__ import annotations

import msgspec

FIELD = "m"
"""The field of an entry of the stream: a JSON array of messages."""
WITHDRAWN = "withdrawn"
"""The claim of a run that must not begin any more."""
HEARTBEAT_S = 5.0
"""The time between two heartbeats of a running body, and of a worker."""
LOST_AFTER_S = 3 * HEARTBEAT_S
"""A body or worker without a heartbeat for so long is gone."""
CANCEL_CHECK_S = 0.5
"""How often a worker with running bodies looks for requests to stop, at least."""
WORKER_KEPT_S = 3_600
"""How long a worker that is gone is listed."""


class Channel(msgspec.Struct, frozen=True):
    """The names of the keys of one log."""

    prefix: str

    @classmethod
    def of_log(cls, prefix: str, log_id: str) -> Channel:
        """Return the channel of a log: several logs, and other programs, share a Redis."""
        return cls(f"{{{prefix}:{log_id}}}")

    @property
    def stream(self) -> str:
        """The key of the stream."""
        return f"{self.prefix}:stream"

    @property
    def alive(self) -> str:
        """The key of the heartbeats."""
        return f"{self.prefix}:alive"

    @property
    def cancel(self) -> str:
        """The key of the requests to stop."""
        return f"{self.prefix}:cancel"

    @property
    def look(self) -> str:
        """The key of the requests to look into a body."""
        return f"{self.prefix}:look"

    @property
    def reader(self) -> str:
        """The key of the term of the reader."""
        return f"{self.prefix}:reader"

    def claim(self, execution_id: str) -> str:
        """Return the key of the claim of a run."""
        return f"{self.prefix}:claim:{execution_id}"

    def answer(self, execution_id: str, number: int) -> str:
        """Return the key of the answer to an order; a list with one element."""
        return f"{self.prefix}:answers:{execution_id}:{number}"


def workers_key(prefix: str) -> str:
    """Return the key of the sorted set of worker names, by the time of their last heartbeat in ms."""
    return f"{prefix}:workers"


def worker_key(prefix: str, name: str) -> str:
    """Return the key of what a worker says of itself."""
    return f"{prefix}:worker:{name}"


def claim_value(token: str, worker: str) -> str:
    """Return the claim of a worker; `token` is new for each task message that it takes: `PID-RANDOM`."""
    return f"{token} {worker}"


def process_of(claim: str) -> int | None:
    """Return the id of the process that has a claim, on the machine of its worker; None for a withdrawn one."""
    process, separator, _ = claim.partition("-")
    return int(process) if separator and process.isdecimal() else None


def worker_of(claim: str) -> str | None:
    """Return the worker that has a claim; None for a withdrawn one."""
    return claim.partition(" ")[2] or None


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

BEGIN = (
    _NOW
    + """
local claim, stream, alive = KEYS[1], KEYS[2], KEYS[3]
local value, claim_ttl, id, batch, result_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not redis.call('SET', claim, value, 'NX', 'EX', claim_ttl) then
    local holder = redis.call('GET', claim)
    if holder ~= value then return holder end
    return 1
end
redis.call('XADD', stream, '*', 'm', batch)
redis.call('EXPIRE', stream, result_ttl)
redis.call('ZADD', alive, now, id)
redis.call('EXPIRE', alive, result_ttl)
return 1
"""
)
"""Claim a run, and report that it begins. KEYS: claim, stream, alive; ARGV: the claim's value, its ttl in s, the id of
the execution, a batch with `begun`, the ttl of results in s. Returns 1, or the value of the claim that is there."""

POST = (
    _NOW
    + """
local stream, alive, cancel, look = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local batch, result_ttl, running = ARGV[1], ARGV[2], tonumber(ARGV[3])
if batch ~= '' then
    redis.call('XADD', stream, '*', 'm', batch)
    redis.call('EXPIRE', stream, result_ttl)
end
local stopping, looks = {}, {}
for i = 4, 3 + running do
    redis.call('ZADD', alive, now, ARGV[i])
    if redis.call('HEXISTS', cancel, ARGV[i]) == 1 then stopping[#stopping + 1] = ARGV[i] end
    local token = redis.call('HGET', look, ARGV[i])
    if token then
        redis.call('HDEL', look, ARGV[i])
        looks[#looks + 1] = ARGV[i]
        looks[#looks + 1] = token
    end
end
if running > 0 then redis.call('EXPIRE', alive, result_ttl) end
for i = 4 + running, #ARGV do
    redis.call('ZREM', alive, ARGV[i])
    redis.call('HDEL', cancel, ARGV[i])
end
return {stopping, looks}
"""
)
"""Post a batch, renew the heartbeats of the runs that go on, and drop those of the runs that the batch ends. KEYS:
stream, alive, cancel, look; ARGV: the batch (empty: none), the ttl of results in s, the number of runs that go on, the
ids of those, the ids of the runs that have ended. Returns the ids of the running ones that are to stop, and a list of
the ids and tokens of those that are to be looked into, each of them once."""

WITHDRAW = """
if redis.call('SET', KEYS[1], 'withdrawn', 'NX', 'EX', ARGV[1]) then return 'withdrawn' end
return redis.call('GET', KEYS[1])
"""
"""Keep a run from beginning. KEYS: claim; ARGV: its ttl in s. Returns the value of the claim: `withdrawn`, or that of
the worker that was faster."""

CANCEL = """
redis.call('HSET', KEYS[1], ARGV[1], 'cancel')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""Request that a body stops. KEYS: cancel; ARGV: the id of the execution, a ttl in s."""

ASK = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
"""Ask where a body is in its code. KEYS: look; ARGV: the id of the execution, the token of the question, a ttl in s."""

ANSWER = """
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('RPUSH', KEYS[1], ARGV[1])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""Answer an order, for which the body waits with BLPOP. KEYS: answer; ARGV: the answer, its ttl in s."""

LOOK = (
    _NOW
    + """
local scores = {}
for i = 1, #ARGV do
    scores[i] = redis.call('ZSCORE', KEYS[1], ARGV[i]) or ''
end
return {now, scores}
"""
)
"""Read heartbeats. KEYS: alive; ARGV: ids of executions. Returns the time of the server in ms, and for each id the time
of its last heartbeat, or an empty text."""

LEAD = """
local term = tonumber(redis.call('GET', KEYS[1]) or '-1')
if term > tonumber(ARGV[1]) then return term end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return tonumber(ARGV[1])
"""
"""Become the reader of the stream, or stay it. KEYS: reader; ARGV: the term, a ttl in s. Returns the term that has it:
a higher one if another kernel leads by now."""

DELETE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
return redis.call('XDEL', KEYS[2], unpack(ARGV, 2))
"""
"""Delete entries whose effects are durable. KEYS: reader, stream; ARGV: the term, the ids of at most 1,000 entries.
Returns how many were deleted, or -1 where another kernel is the reader."""

BEAT = (
    _NOW
    + """
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2] * 1000)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return now
"""
)
"""Record the heartbeat of a worker. KEYS: workers; ARGV: its name, how long gone workers are kept in s. Returns
the time of the server in ms. The worker writes what it says of itself with SET ... EX beside it."""
