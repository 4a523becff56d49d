"""How commands reach the kernel that leads the log of the deployment on this machine."""

from __future__ import annotations

from gnomon.deployment.assembly import Deployment
from gnomon.deployment.config import Config
from gnomon.orders.socket_channel import SocketChannel
from gnomon.ports import OrderChannel, Store

LEADER_LIMIT_S = 1.0
"""Seconds that a command waits for a kernel that leads, which may be about to take over."""


def find_channel(config: Config) -> OrderChannel:
    """Return the channel of a deployment, without importing its jobs: a kernel is reached when they are broken."""
    return channel_of(Deployment.store_only(config), config)


def channel_of(store: Store, config: Config) -> OrderChannel:
    """Return the channel of a log; one that no other process can open has a socket that is named after the config."""
    return store.orders() or config_channel(config)


def config_channel(config: Config) -> SocketChannel:
    """Return the channel whose socket is beside the config file: for `gnomon run` with a log that has no channel."""
    name = config.source.stem if config.source is not None else "gnomon"
    return SocketChannel(config.directory / name)
