"""The parameters of a job's function as JSON Schema: what a form for a run asks for."""

from __future__ import annotations

import re
from inspect import Parameter, getdoc
from typing import Any

import msgspec

from gnomon.conversion import Secret
from gnomon.domain.secret_references import references
from gnomon.durations import Duration
from gnomon.jobs.annotations import Timespan
from gnomon.jobs.arguments import ParameterType, plain
from gnomon.jobs.body import Body, read_signature
from gnomon.jobs.callables import cached_by_function
from gnomon.jobs.job import Job
from gnomon.jobs.plain_secrets import plain_secrets

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SECRET_KEY = "x-secret"  # noqa: S105 - a key of the schema

_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_SPHINX = re.compile(r"^\s*:param (?:[^:]*\s)?(\w+):\s*(.+?)\s*$", re.MULTILINE)
_GOOGLE = re.compile(r"^[ \t]*(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|[ \t]*\n)*)", re.MULTILINE)
_GOOGLE_ITEM = re.compile(r"^[ \t]+\*{0,2}(\w+)(?:[ \t]*\([^)]*\))?:[ \t]+(.+?)[ \t]*$", re.MULTILINE)


def parameters_schema(job: Job, body: Body) -> dict[str, Any]:
    """Return the JSON Schema of the named arguments that a run of a job may have.

    `default` is the job's own value, else the function's. An argument that no command may set is `readOnly`; one whose
    value is a secret has `x-secret`, which names where the secret is kept, in place of a default.
    """
    signature = cached_by_function(read_signature, body.func)
    parameters = list(signature.parameters.values()) if signature is not None else []
    shown = [one for one in parameters if one.kind in _BY_NAME and not _is_given_by_the_kernel(one.name, body, job)]
    typed = [body.types.named(one.name) if body.types is not None else None for one in shown]
    schemas, definitions = _schemas(typed)
    texts = _descriptions(getdoc(body.func) or "")
    taken = len(job.args)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter, schema in zip(shown, schemas, strict=True):
        name = parameter.name
        facts: dict[str, Any] = {"title": _title(name)}
        if name in texts:
            facts["description"] = texts[name]
        has_value = _add_value(facts, name, parameter, job)
        position = _position(parameters, parameter, body)
        if position is not None and position < taken:
            facts |= _value(job.args[position]) | {"readOnly": True}
        elif not has_value:
            required.append(name)
        if body.overrides == "none" or (isinstance(body.overrides, list) and name not in body.overrides):
            facts["readOnly"] = True
        properties[name] = schema | facts
    more = any(one.kind is Parameter.VAR_KEYWORD for one in parameters) or signature is None
    found: dict[str, Any] = {"$schema": DIALECT, "title": job.title, "type": "object", "properties": properties}
    found |= {"required": required, "additionalProperties": more and body.overrides != "none"}
    return found | ({"$defs": definitions} if definitions else {})


def _is_given_by_the_kernel(name: str, body: Body, job: Job) -> bool:
    return name == body.context_parameter or (name == "force" and body.takes_force and name not in job.kwargs)


def _schemas(types: list[ParameterType | None]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of each type, an empty one for None, and the definitions that they share."""
    members = [one.members if one is not None else () for one in types]
    flat, definitions = msgspec.json.schema_components(
        [member for group in members for member in group], schema_hook=_custom_schema, ref_template="#/$defs/{name}"
    )
    remaining = iter(flat)
    found: list[dict[str, Any]] = []
    for group in members:
        own = [dict(next(remaining)) for _ in group]
        found.append(own[0] if len(own) == 1 else {"anyOf": own} if own else {})
    return found, dict(definitions)


def _custom_schema(kind: type) -> dict[str, Any]:
    if kind in {Timespan, Duration}:
        return {"type": "string", "format": "duration", "examples": ["5m"]}
    return {"type": "string", "format": "time-zone" if kind.__name__ == "ZoneInfo" else "path"}


def _add_value(facts: dict[str, Any], name: str, parameter: Parameter, job: Job) -> bool:
    """Add the value that a run has if the form leaves the argument alone; return whether there is one."""
    if name in job.kwargs:
        facts |= _value(job.kwargs[name])
        return True
    if parameter.default is Parameter.empty:
        return False
    if not isinstance(parameter.default, Secret):
        try:
            written = plain(parameter.default)
        except (TypeError, ValueError, NotImplementedError, RecursionError):
            return True
        # Defaults stand in code, which viewers do not see otherwise.
        if not any(plain_secrets(written, name, name)):
            facts["default"] = written
    return True


def _value(value: Any) -> dict[str, Any]:
    secret = next((reference for _, reference in references([value], "")), None)
    return {"default": value} if secret is None else {SECRET_KEY: str(secret)}


def _position(parameters: list[Parameter], parameter: Parameter, body: Body) -> int | None:
    """Return the position at which `args` of a job gives a parameter."""
    if parameter.kind is Parameter.KEYWORD_ONLY:
        return None
    return [one.name for one in parameters if one.name != body.context_parameter].index(parameter.name)


def _title(name: str) -> str:
    words = name.strip("_").replace("_", " ")
    return words[:1].upper() + words[1:]


def _descriptions(doc: str) -> dict[str, str]:
    """Return what a docstring in the style of Google or Sphinx says about each parameter: the first line of it."""
    found = dict(_SPHINX.findall(doc))
    if (section := _GOOGLE.search(doc)) is not None:
        found |= dict(_GOOGLE_ITEM.findall(section[1]))
    return found
