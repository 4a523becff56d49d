"""The static files of the dashboard: read, bundled, compressed and hashed once."""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from gnomon_web.dashboard.bundle import Bundle, bundle

_CSS_COMMENT = re.compile(r"/\*.*?\*/\n?", re.DOTALL)

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".map": "application/json",
    ".svg": "image/svg+xml",
}


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent."""

    content_type: str
    body: bytes
    compressed: bytes


class Build(msgspec.Struct, frozen=True):
    """All files of this version. Their URLs contain `name`, a hash of all of them, so caches may keep them for ever."""

    name: str
    files: dict[str, Asset]
    bundle: Bundle
    index: str

    def page(self, base_path: str) -> str:
        """Return the page. It requests one style sheet and one module."""
        filled = self.index
        for placeholder, text in {
            "{assets}": f"{base_path}/ui/{self.name}",
            "{base}": base_path,
            "{version}": version("gnomon"),
        }.items():
            filled = filled.replace(placeholder, text)
        return filled


@functools.cache
def build() -> Build:
    """Read the files under `static/` and bundle scripts and style sheets. `types.d.ts` is for the type checker only."""
    root = files("gnomon_web.dashboard") / "static"
    found = {path: entry.read_text("utf-8") for path, entry in sorted(_walk(root))}
    bundled = bundle({path: text for path, text in found.items() if path.endswith(".js")})
    # tokens.css declares the order of the layers, so it must come first.
    sheets = sorted((path for path in found if path.endswith(".css")), key=lambda path: path != "css/tokens.css")
    texts = {
        "app.js": f"{bundled.text()}//# sourceMappingURL=app.js.map\n",
        "app.js.map": bundled.source_map(),
        "app.css": "".join(_CSS_COMMENT.sub("", found[path]) for path in sheets),
        "icon.svg": found["icon.svg"],
        **bundled.lazy(),
    }
    served = {path: _asset(path, text.encode()) for path, text in texts.items()}
    digest = hashlib.sha256()
    for path, asset in served.items():
        digest.update(b"%s\0%d\0%s" % (path.encode(), len(asset.body), asset.body))
    return Build(digest.hexdigest()[:12], served, bundled, found["index.html"])


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    found = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        found += _walk(entry, f"{path}/") if entry.is_dir() else [(path, entry)]
    return found


def _asset(path: str, body: bytes) -> Asset:
    return Asset(TYPES[path[path.rfind(".") :]], body, gzip.compress(body, mtime=0))
