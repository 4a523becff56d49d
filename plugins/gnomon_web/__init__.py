"""The HTTP front end: REST, WebSockets, a dashboard and metrics, on aiohttp, in the kernel's process.

    [plugins.web]
    port = 8000

    [[plugins.web.tokens]]
    name = "ops"
    role = "operator"
    token = { env = "GNOMON_OPS_TOKEN" }

Without tokens it serves this machine only. Other plugins add calls with the hook `register_routes`, see
`gnomon_web.http.contributions`. Requires prometheus-client: `pip install 'gnomon[web]'`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon_web.asgi import AsgiProxy
    from gnomon_web.auth.tokens import Token
    from gnomon_web.config import Config
    from gnomon_web.mounted import app
    from gnomon_web.plugin import WebPlugin

__all__ = ["AsgiProxy", "Config", "Token", "WebPlugin", "app"]

_HOMES = {
    "AsgiProxy": "gnomon_web.asgi",
    "Config": "gnomon_web.config",
    "Token": "gnomon_web.auth.tokens",
    "WebPlugin": "gnomon_web.plugin",
    "app": "gnomon_web.mounted",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `gnomon --help` imports the command and must not need the server.
    if name not in _HOMES:
        raise AttributeError(f"module 'gnomon_web' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
