"""Argument checks that several chores share."""

from gnomon_chores.errors import BadArgument


def kind(value: object) -> str:
    """Return the type of a value and not the value itself, which may be a secret."""
    return f"of type {type(value).__name__}"


def check_number(chore: str, argument: str, value: object, *, above: float | None = None, least: float = 0) -> None:
    """Raise BadArgument unless the value is a number greater than `above`, or of at least `least`."""
    wanted = f"a number greater than {above:g}" if above is not None else f"a number of at least {least:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadArgument(chore, argument, kind(value), wanted)
    if not (value > above if above is not None else value >= least):  # "not" so that NaN is refused
        raise BadArgument(chore, argument, str(value), wanted)


def checked_whole(chore: str, argument: str, value: object, *, least: int = 0) -> int:
    """Return a whole number of at least `least`; raise BadArgument for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadArgument(chore, argument, kind(value), f"a whole number of at least {least}")
    check_number(chore, argument, value, least=least)
    return value


def checked_texts(chore: str, argument: str, value: object) -> dict[str, str]:
    """Return a table of strings by name, such as headers or environment variables; else raise BadArgument."""
    if not isinstance(value, dict):
        raise BadArgument(chore, argument, kind(value), "a table of names and strings")
    for name, text in value.items():
        if not isinstance(name, str) or not name:
            raise BadArgument(chore, argument, f"a table with a name {kind(name)}", "names that are non-empty strings")
        if not isinstance(text, str):
            raise BadArgument(chore, f"{argument}[{name!r}]", kind(text), "a string")
    return value
