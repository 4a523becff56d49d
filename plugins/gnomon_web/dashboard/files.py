"""The files of the dashboard: read once, joined once, compressed once, named after what is in them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from gnomon_web.dashboard.joining import Joined, join

_CSS_COMMENT = re.compile(r"/\*.*?\*/\n?", re.DOTALL)

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".map": "application/json",
    ".svg": "image/svg+xml",
}


class File(msgspec.Struct, frozen=True):
    """A file as it is sent."""

    content_type: str
    body: bytes
    compressed: bytes


class Build(msgspec.Struct, frozen=True):
    """All files of this version. Their addresses hold `name`, a hash of them all, so that they may be kept for ever."""

    name: str
    files: dict[str, File]
    joined: Joined
    index: str

    def page(self, base_path: str) -> str:
        """Write the page, which asks for one sheet and one module."""
        filled = self.index
        for place, text in {
            "{assets}": f"{base_path}/ui/{self.name}",
            "{base}": base_path,
            "{version}": version("gnomon"),
        }.items():
            filled = filled.replace(place, text)
        return filled


@functools.cache
def build() -> Build:
    """Read what lies under `static/`; scripts and sheets become one each. `types.d.ts` is for the type checker."""
    root = files("gnomon_web.dashboard") / "static"
    found = {path: entry.read_text("utf-8") for path, entry in sorted(_walk(root))}
    joined = join({path: text for path, text in found.items() if path.endswith(".js")})
    # tokens.css names the layers in their order, so it must come first.
    sheets = sorted((path for path in found if path.endswith(".css")), key=lambda path: path != "css/tokens.css")
    texts = {
        "app.js": f"{joined.text()}//# sourceMappingURL=app.js.map\n",
        "app.js.map": joined.source_map(),
        "app.css": "".join(_CSS_COMMENT.sub("", found[path]) for path in sheets),
        "icon.svg": found["icon.svg"],
        **joined.later,
    }
    served = {path: _file(path, text.encode()) for path, text in texts.items()}
    digest = hashlib.sha256()
    for path, file in served.items():
        digest.update(b"%s\0%d\0%s" % (path.encode(), len(file.body), file.body))
    return Build(digest.hexdigest()[:12], served, joined, found["index.html"])


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    found = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        found += _walk(entry, f"{path}/") if entry.is_dir() else [(path, entry)]
    return found


def _file(path: str, body: bytes) -> File:
    return File(TYPES[path[path.rfind(".") :]], body, gzip.compress(body, mtime=0))
