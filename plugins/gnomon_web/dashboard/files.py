"""The files of the dashboard: read once, compressed once, named after what is in them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

_COMMENT = re.compile(rb"/\*\*.*?\*/ ?|^[ ]*//[^\n]*", re.DOTALL | re.MULTILINE)

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""What is served. `types.d.ts` is for the type checker, and `index.html` is filled first."""


class File(msgspec.Struct, frozen=True):
    """A file as it is sent."""

    content_type: str
    body: bytes
    compressed: bytes


class Build(msgspec.Struct, frozen=True):
    """All files of this version. Their addresses hold `name`, a hash of them all, so that they may be kept for ever."""

    name: str
    files: dict[str, File]
    index: str

    def page(self, base_path: str) -> str:
        """Write the page: every file is named in it, so that a browser asks for all of them at once."""
        assets = f"{base_path}/ui/{self.name}"
        styles = [f'<link rel="stylesheet" href="{assets}/{path}">' for path in self.files if path.endswith(".css")]
        modules = [f'<link rel="modulepreload" href="{assets}/{path}">' for path in self.files if path.endswith(".js")]
        filled = self.index
        for place, text in {
            "{styles}": "\n".join(styles),
            "{modules}": "\n".join(modules),
            "{assets}": assets,
            "{base}": base_path,
            "{version}": version("gnomon"),
        }.items():
            filled = filled.replace(place, text)
        return filled


@functools.cache
def build() -> Build:
    """Read everything that lies under `static/`."""
    root = files("gnomon_web.dashboard") / "static"
    found = {path: _read(entry, path) for path, entry in sorted(_walk(root)) if _suffix(path) in TYPES}
    # tokens.css names the layers in their order, so it must come first.
    ordered = dict(sorted(found.items(), key=lambda item: item[0] != "css/tokens.css"))
    digest = hashlib.sha256()
    for path, file in ordered.items():
        digest.update(b"%s\0%d\0%s" % (path.encode(), len(file.body), file.body))
    return Build(digest.hexdigest()[:12], ordered, (root / "index.html").read_text("utf-8"))


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    found = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        found += _walk(entry, f"{path}/") if entry.is_dir() else [(path, entry)]
    return found


def _read(entry: Traversable, path: str) -> File:
    body = entry.read_bytes()
    if path.endswith(".js"):
        # Types and explanations are for those who read the source: a sixth of all. Lines keep their numbers.
        body = _COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), body)
    return File(TYPES[_suffix(path)], body, gzip.compress(body, mtime=0))


def _suffix(path: str) -> str:
    return path[path.rfind(".") :]
