"""Tables of the config that programs make as well: plain text becomes a Secret where a field is one."""

from __future__ import annotations

from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from gnomon.conversion import Secret, convert_given

if TYPE_CHECKING:
    ConfigTable = msgspec.Struct

    class OptionalSecret:
        """The type of a field that is a Secret or None, and takes plain text; its default is NO_SECRET."""

        def __get__(self, instance: object, owner: Any = None) -> Secret | None: ...

        def __set__(self, instance: object, value: str | None) -> None: ...

    NO_SECRET: OptionalSecret
else:
    OptionalSecret, NO_SECRET = Secret | None, None

    class _HidingText(msgspec.StructMeta):
        def __call__(cls, *args: Any, **values: Any) -> Any:  # noqa: N805 - a metaclass
            if fields := _secret_fields(cls):
                args = [_hidden(fields, *pair) for pair in zip_longest(cls.__match_args__[: len(args)], args)]
                values = {name: _hidden(fields, name, value) for name, value in values.items()}
            return super().__call__(*args, **values)

    class ConfigTable(msgspec.Struct, metaclass=_HidingText):
        """A Struct for a table of the config, such as `Config` of a plugin and the Structs in it.

        Where a program makes one, plain text becomes a Secret if the field is one, or a list or a dict of them.
        ParameterError for what is not text. Type checkers accept it for fields of the types Secret and OptionalSecret.
        """


@lru_cache(maxsize=256)
def _secret_fields(table: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(table) if _is_of_secrets(field.type)}


def _is_of_secrets(expected: Any) -> bool:
    return expected is Secret or any(map(_is_of_secrets, get_args(expected)))


def _hidden(fields: dict[str, Any], name: str, value: Any) -> Any:
    return convert_given(value, fields[name], name) if name in fields else value
