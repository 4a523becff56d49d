"""Signatures of functions of the user, whatever names their annotations have.

Python 3.14 evaluates annotations when they are read. Names that only type checkers import do not exist then, and
`inspect.signature` raises NameError unless it is asked for another format.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

_FORMATS: tuple[Mapping[str, Any], ...] = ({},)
if sys.version_info >= (3, 14):
    from annotationlib import Format

    # An annotation that raises anything but NameError can be read as text only.
    _FORMATS = ({"annotation_format": Format.FORWARDREF}, {"annotation_format": Format.STRING})


def signature_of(func: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function; TypeError or ValueError where it has none, as some builtins.

    Annotations with unknown names are text, or an object that has the text as `__forward_arg__`.
    """
    *formats, last = _FORMATS
    for options in formats:
        with suppress(Exception):  # an annotation is code, which may raise anything
            return inspect.signature(func, **options)
    return inspect.signature(func, **last)
