"""Secrets are hidden in every form in which a longer text shows them."""

from __future__ import annotations

import base64

import pytest

from gnomon.runners.masking import Mask

SECRET = "s3cr3t/value+with ünicode??"


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "anna:", "b:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_is_hidden_wherever_it_stands_in_base64(before: str, after: str, encode: type) -> None:
    text = encode(f"{before}{SECRET}{after}".encode()).decode()

    hidden = Mask([SECRET]).hide(text)

    assert "***" in hidden
    left = [part for part in hidden.split("***") if len(part) > (len(before) + len(after)) * 2 + 4]
    assert left == []


def test_a_secret_is_hidden_as_the_repr_of_bytes() -> None:
    assert Mask([SECRET]).hide(repr({"body": SECRET.encode()})) == "{'body': b'***'}"
