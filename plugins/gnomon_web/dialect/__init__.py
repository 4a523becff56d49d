"""Dialects: the API in the words of another scheduler, for clients that were written for that one.

The clean API of `resources` and `live` knows nothing of dialects. A dialect stands between it and the wire
(`gnomon_web.http.dialect`): it reads requests leniently, translates parameters and answers, and has routes of its own.
Clients that send `Accept: application/vnd.gnomon+json`, such as the dashboard and `gnomon.client`, get the clean API of
every server.
"""

from __future__ import annotations

from gnomon_web.config import Config
from gnomon_web.dialect.tradingagents import TradingAgents
from gnomon_web.http.dialect import CLEAN, Dialect


def choose(config: Config) -> Dialect:
    """Return the dialect of a server."""
    return TradingAgents() if config.dialect == "tradingagents" else CLEAN
