"""The store's health, which is code of a plugin: an error in it must not stop runs or the kernel's health."""

from __future__ import annotations

import msgspec

from gnomon.domain.records import StoreHealth
from gnomon.plugins.calls import describe
from gnomon.ports import Store
from gnomon.safe_text import exact, safe_repr


def health_of(store: Store) -> StoreHealth:
    """Return what the store reports; a store that fails to do so is degraded, and runs still start."""
    try:
        health: object = store.health()
        if not isinstance(health, StoreHealth):
            raise TypeError(f"expected a StoreHealth, got {safe_repr(health)}")
        if health.problem is None:
            return health
        return msgspec.structs.replace(health, problem=exact(health.problem))
    except BaseException as exc:  # noqa: BLE001 - see above
        return StoreHealth("degraded", f"the store {store.name} cannot report its health: {describe(exc)}")
