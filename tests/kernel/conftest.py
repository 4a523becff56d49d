from collections.abc import Iterator

import pytest

from gnomon.testing import check_log


@pytest.fixture(autouse=True)
def the_promises_of_the_log_hold(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check what every kernel of the test has written, and that the store's views are what it tells."""
    if "gnomon_kernel" not in request.fixturenames:
        yield
        return
    store = request.getfixturevalue("gnomon_kernel").keywords["store"]
    yield
    check_log(store.recorded, store._executions.values(), store._jobs.values())
