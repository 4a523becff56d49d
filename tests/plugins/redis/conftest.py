"""Tests with a real Redis server."""

from redis_fixtures import eventually_, idle_server, redis, server, server_program

__all__ = ["eventually_", "idle_server", "redis", "server", "server_program"]
