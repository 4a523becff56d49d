import math
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.durations import Duration, decode_hook, encode_hook


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1w", 604800),
        ("1h 30m", 5400),
        ("1h30m", 5400),
        (" 1.5 h ", 5400),
        (90, 90),
        (0.25, 0.25),
        (0, 0),
        (timedelta(minutes=2), 120),
    ],
)
def test_a_duration_is_parsed(written: object, seconds: float) -> None:
    assert Duration.parse(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["", " ", "10", "soon", "10 years", "1h soon", "-5s", "5M", "٣s", None, True, [5]])
def test_an_invalid_duration_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match=r'expected a duration such as "500ms".* got '):
        Duration.parse(written)


TOO_LARGE = [math.inf, "999999999999d", 10**400, pytest.param(10**5000, id="5,000 digits"), timedelta.max]


@pytest.mark.parametrize("written", [-1, -timedelta(5), math.nan, *TOO_LARGE])
def test_a_duration_is_neither_negative_nor_infinite(written: object) -> None:
    with pytest.raises(ValueError, match="expected a duration from 0 to 999999999 days"):
        Duration.parse(written)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.25, "250ms"), (90, "1m 30s"), (86400, "1d"), (90061.5, "1d 1h 1m 1s 500ms")]
)
def test_a_duration_is_written_with_the_largest_units(seconds: float, text: str) -> None:
    assert str(Duration(seconds=seconds)) == text


@given(st.integers(min_value=0, max_value=10**12))
def test_a_written_duration_is_parsed_back(milliseconds: int) -> None:
    duration = Duration(milliseconds=milliseconds)

    assert Duration.parse(str(duration)) == duration


class Policy(msgspec.Struct):
    grace: Duration | None = None


def test_a_struct_holds_durations_as_text() -> None:
    policy = msgspec.convert({"grace": "1h"}, Policy, dec_hook=decode_hook)

    written = msgspec.to_builtins(policy, enc_hook=encode_hook)

    assert policy.grace == timedelta(hours=1)
    assert written == {"grace": "1h"}
