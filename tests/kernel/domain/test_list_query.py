from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gnomon.domain.list_query import (
    JOB_KEYS,
    RUN_KEYS,
    JobFilter,
    RunFilter,
    parse_job_query,
    parse_run_query,
    parse_sort,
)
from gnomon.domain.query_terms import ListQueryError, parse_terms, quoted
from gnomon.domain.records import Bounds, ExecutionQuery, JobScope
from gnomon.domain.run_sorting import RunSort

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def parse(text: str) -> RunFilter:
    return parse_run_query(text, NOW, ZoneInfo("Asia/Shanghai"))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", {}),
        ("status:failed,missed", {"status": ("failed", "missed")}),
        ("STATUS:failed", {"status": ("failed",)}),
        ("job:etl.daily", {"jobs": ("etl.daily",)}),
        ("job:etl.*,report?", {"jobs": ("etl.*", "report?")}),
        ('tag:etl tag:"big, slow",small', {"tags": (("etl",), ("big, slow", "small"))}),
        ('by:otto,"token: ci"', {"actors": ("otto", "token: ci")}),
        ("manual:false", {"is_manual": False}),
        ("label:tenant=7 label:kind:a:b", {"labels": ("tenant:7", "kind:a:b")}),
        ("late>1m", {"late": Bounds(above=60)}),
        ("late>=30s late<1h", {"late": Bounds(least=30, below=3600)}),
        ('duration<="1h 30m"', {"duration": Bounds(most=5400)}),
        ("since:-7d until:now", {"since": NOW - timedelta(days=7), "until": NOW}),
        ("since:2026-11-30", {"since": datetime(2026, 11, 29, 16, tzinfo=UTC)}),
        ("since:2026-11-30T10:00:00+01:00", {"since": datetime(2026, 11, 30, 9, tzinfo=UTC)}),
        ("no answer status:failed from shard", {"status": ("failed",), "text": "no answer from shard"}),
        ('"no  answer: 7" , 8', {"text": "no  answer: 7 , 8"}),
        (r'"a \"b\" \\ c"', {"text": r'a "b" \ c'}),
    ],
)
def test_a_query_for_runs_asks_for(text: str, asked: dict[str, Any]) -> None:
    assert parse(text) == RunFilter(**asked)


@pytest.mark.parametrize(
    ("text", "at", "problem"),
    [
        ("status:failde", 8, "expected one of scheduled, running, success, failed, missed, cancelled, got 'failde'"),
        ("tag:etl statsu:failed", 9, "there is no key 'statsu'; did you mean 'status'?"),
        ("http://db", 1, "there is no key 'http'; expected one of status, job, tag"),
        ("status:", 8, "expected a value after 'status:'"),
        ("status:failed,,missed", 15, "expected a value after 'status:failed,'"),
        ("status:failed status:missed", 15, "'status' is given twice: separate values by commas"),
        ("status=failed", 7, "'status' takes a colon, such as status:failed"),
        ("late:1m", 5, "'late' takes >, >=, < or <=, such as late>1m"),
        ("late>soon", 6, "expected a duration such as 30s, 5m or 1h 30m, got 'soon'"),
        ("late>1m,2m", 9, "'late' takes one value, got '2m'"),
        ("since:yesterday", 7, "expected a moment such as -7d, 2026-12-01 or 2026-12-01T18:00:00Z, got 'yesterday'"),
        ("since:-9999999d", 7, "expected a moment"),
        ("manual:maybe", 8, "expected one of true, false, got 'maybe'"),
        ("label:tenant", 7, "expected a label such as tenant=7, a name and its value, got 'tenant'"),
        ("job:a/b", 5, "expected the id of a job, or a part of it with * and ?, got 'a/b'"),
        ('by:"otto', 4, "the quote that opens here is not closed"),
        ('""', 1, "expected a text between the quotes"),
        (f"by:{','.join('x' * 51)}", 104, "'by' takes at most 50 values"),
        ("x" * 1_001, 1_001, "expected at most 1,000 characters"),
    ],
)
def test_an_error_says_where_it_is_what_was_found_and_what_was_expected(text: str, at: int, problem: str) -> None:
    with pytest.raises(ListQueryError) as caught:
        parse(text)

    assert str(caught.value).startswith(f"at character {at}: {problem}")
    assert caught.value.at == at - 1


def test_the_keys_of_the_lists_are_all_parsed() -> None:
    examples = {"late": ">1m", "duration": ">1m", "since": ":now", "until": ":now", "manual": ":true", "label": ":a=1"}
    words = {"status": ":failed"} | {key: ":x" for key in RUN_KEYS if key not in {*examples, "status"}} | examples
    assert parse(" ".join(f"{key}{words[key]}" for key in RUN_KEYS)).text is None
    words = {"status": ":failing", "origin": ":api"}
    assert parse_job_query(" ".join(f"{key}{words.get(key, ':x')}" for key in JOB_KEYS)).text is None


def test_a_query_for_jobs_has_states_of_jobs() -> None:
    found = parse_job_query("status:paused,failing tag:etl owner:ann origin:api,config nightly")

    assert found == JobFilter(
        status=("paused", "failing"), tags=(("etl",),), owner=("ann",), origin=("api", "config"), text="nightly"
    )
    with pytest.raises(ListQueryError, match="at character 8: expected one of active, paused, running, failing"):
        parse_job_query("status:success")


def test_jobs_and_tags_become_sets_of_jobs_for_the_store() -> None:
    tags = {"etl.a": ["etl"], "etl.b": ["etl", "slow"], "other": ["slow"]}

    def query(text: str, **base: Any) -> ExecutionQuery:
        return parse(text).query(tags, ExecutionQuery(**base))

    assert query("job:etl.a") == ExecutionQuery(job_id="etl.a")
    assert query("job:etl.a", job_id="other") == ExecutionQuery(
        job_id="other", within=JobScope(ids=frozenset({"etl.a"}))
    )
    assert query("job:etl.a,o*").within == JobScope(("o*",), frozenset({"etl.a"}))
    assert query("tag:etl").within == JobScope(ids=frozenset({"etl.a", "etl.b"}))
    assert query("tag:etl tag:slow").within == JobScope(ids=frozenset({"etl.b"}))
    assert query("tag:slow job:etl.*").within == JobScope(ids=frozenset({"etl.b"}))
    assert query("tag:none").within == JobScope()
    assert query("label:b=2", labels=("a:1",)).labels == ("a:1", "b:2")


def test_an_order_is_a_column_with_a_minus_for_the_descending_one() -> None:
    assert (parse_sort("late"), parse_sort("-by")) == (RunSort("late"), RunSort("by", descending=True))
    assert str(parse_sort("-by")) == "-by"
    with pytest.raises(ValueError, match=r"expected one of started, job, .*, got '-size'"):
        parse_sort("-size")


@pytest.mark.parametrize(
    "text", ["plain", "with space", 'a "quote"', "back\\slash", "a,b", "k:v", "日本", "a>b", "tab\t"]
)
def test_a_quoted_value_is_read_again(text: str) -> None:
    (term,) = parse_terms(f"by:{quoted(text)}")

    assert term.value.text == text
