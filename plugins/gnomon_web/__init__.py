"""The HTTP front end: REST, WebSockets, a dashboard and metrics, on aiohttp, in the kernel's process.

    [plugins.web]
    port = 8000

    [[plugins.web.tokens]]
    name = "ops"
    role = "operator"
    token = { env = "GNOMON_OPS_TOKEN" }

Without tokens it serves this machine alone. Another plugin adds calls of its own by the hook `register_routes`, see
`gnomon_web.contributions`. Needs prometheus-client, which comes with `pip install 'gnomon[web]'`.
"""

from gnomon_web.plugin import WebPlugin

__all__ = ["WebPlugin"]
