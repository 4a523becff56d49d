import resource
from collections.abc import Iterator

import pytest

from gnomon.cli.process_limits import DESCRIPTORS, raise_descriptor_limit


@pytest.fixture(autouse=True)
def the_limit_is_put_back() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("soft", [512, 20_000])
def test_the_soft_limit_is_raised_within_the_hard_one_and_never_lowered(soft: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft > hard:
        pytest.skip(f"this machine allows {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    raise_descriptor_limit()

    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (max(soft, wanted), hard)
