"""`gnomon explain`: explain why a job ran, ran late or did not run."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gnomon.cli.input.options import config_option, json_option, local_url_option
from gnomon.cli.output.console import echo

if TYPE_CHECKING:
    from gnomon.explanations import Explanation, FireExplanation
    from gnomon.ports import Store


RUN_ID = re.compile(r"[0-9a-f]{24}")


@click.command("explain")
@click.argument("job_id", metavar="JOB|RUN")
@click.argument("time", metavar="[TIME]", required=False)
@config_option
@local_url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, job_id: str, time: str | None, config: Path | None, url: str | None, as_json: bool
) -> None:
    """Explain why a job ran, ran late or did not run at a time.

    RUN is the id of a run, such as one that waits: it is explained with all its attempts. TIME is a date, which means
    the whole day, or an ISO 8601 time, in the job's zone unless it has an offset. Without TIME the last fire and the
    next one are explained. The log is all that is read: no kernel has to be running.
    """
    from gnomon.cli.access.resolve import read_local_config
    from gnomon.cli.access.stored_log import find_store
    from gnomon.cli.input.times import parse_day_or_time
    from gnomon.cli.output.json_output import print_json

    about = parse_day_or_time(time, "TIME") if time else None
    settings = read_local_config(ctx, config, url, needs="the log itself")
    found = asyncio.run(_explain(find_store(settings), job_id, about))
    if as_json:
        print_json(msgspec.structs.asdict(found) | {"fires": [_record(fire) for fire in found.fires]})
    else:
        for sentence in found.sentences:
            echo(sentence)


async def _explain(store: Store, job_id: str, about: datetime | date | None) -> Explanation:
    from gnomon.analysis.explain import explain, explain_run
    from gnomon.cli.access.stored_log import open_log

    async with open_log(store) as log:
        if about is None and RUN_ID.fullmatch(job_id) and await log.execution(job_id) is not None:
            return await explain_run(log, job_id, datetime.now(UTC))
        return await explain(log, job_id, about, datetime.now(UTC))


def _record(fire: FireExplanation) -> dict[str, Any]:
    from gnomon.cli.output.json_output import execution_record

    facts = msgspec.structs.asdict(fire)
    return facts | {name: [execution_record(run) for run in facts[name]] for name in ("executions", "behind")}
