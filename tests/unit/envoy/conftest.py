"""The real Envoy, one for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.running_envoy import RunningEnvoy, running_envoy


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningEnvoy]:
    with running_envoy() as found:
        yield found
