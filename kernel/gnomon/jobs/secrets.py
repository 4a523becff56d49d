"""Read the secrets that the arguments of a job refer to, at the moment when its body is called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.domain.secret_references import SecretReference, is_flat, opened
from gnomon.errors import SecretError
from gnomon.files import read_regular


def read_secret(reference: SecretReference, environ: Mapping[str, str] = os.environ) -> str:
    """Return the text of a secret; ValueError, which names the reference and no value, if it cannot be read."""
    if reference.kind == "env":
        if reference.name not in environ:
            raise ValueError(f"the environment variable {reference.name} is not set")
        return environ[reference.name]
    try:
        text = read_regular(Path(reference.name)).decode("utf-8")
    except OSError as exc:
        raise ValueError(f"{reference.name} cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{reference.name} is not valid UTF-8 text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


def open_arguments(args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any], list[str]]:
    """Return the arguments of a run with its secrets in place of the references, and the list of these secrets.

    SecretError names every reference that cannot be read.
    """
    if is_flat(args) and is_flat(kwargs):
        return args, kwargs, []
    secrets: list[str] = []
    problems: list[str] = []

    def read(place: str, reference: SecretReference) -> str:
        try:
            secrets.append(read_secret(reference))
        except ValueError as exc:
            problems.append(f"{place}: {exc}")
            return ""
        return secrets[-1]

    positional = [opened(value, f"args[{i}]", read) for i, value in enumerate(args)]
    named = {name: opened(value, f"kwargs.{name}", read) for name, value in kwargs.items()}
    if problems:
        raise SecretError(problems)
    return positional, named, secrets
