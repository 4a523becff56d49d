"""The sentences of explanations: each is used, and each that is used is there."""

from __future__ import annotations

import re
from pathlib import Path

from gnomon.analysis import wording
from gnomon.analysis.wording import TEMPLATES, chain
from gnomon.domain.statement import Statement, Wording, state
from gnomon.text import length


def test_every_sentence_is_used_and_every_one_that_is_used_is_there() -> None:
    folder = Path(wording.__file__).parent
    code = "\n".join(path.read_text() for path in folder.glob("*.py") if path.name != "wording.py")
    mentioned = set(re.findall(r'"([a-z_]+)"', code))
    tenses = {f"{name}_{tense}" for name in re.findall(r'_tense\("(\w+)"', code) for tense in ("is", "was")}

    assert set(TEMPLATES) - mentioned - tenses == {"who", "someone"}  # of wording.who
    assert set(re.findall(r'\bstate\("([a-z_]+)"', code)) <= set(TEMPLATES)


def test_what_is_not_known_is_left_out() -> None:
    words = Wording(TEMPLATES, seconds=length, time=str)
    both = chain("both_facts", [state("is_paused", period=state("resumed")), Statement("resumed")])

    assert words(state("succeeded", took_s=None)) == "It succeeded."
    assert words(state("succeeded", took_s=5)) == "It succeeded after 5.0 s."
    assert words(both) == "The job is paused, the job is resumed. the job is resumed"
