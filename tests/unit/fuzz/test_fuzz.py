"""Ten thousand damaged texts over all readers: each gives a value or an error for users, never a traceback.

What a mutation found stands in the tests of that reader by its name; here only the seed decides what is tried.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.unit.fuzz.mutations import mutated
from tests.unit.fuzz.readers import READERS, Reader, make_workspace

from slipway._internal.model.errors import SlipwayError

MUTATIONS = 10_000
SEED = 20260301
EACH = -(-MUTATIONS // len(READERS))
REFUSED = ("a report of Trivy's", "an OCI index", "an OCI manifest", "Trivy's database", "a bundle of cosign's")
"""Examples that are read to their end, and refused there."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    make_workspace(folder)
    return folder


@pytest.fixture(autouse=True)
def machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of this machine decide."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(root / "cache"))
    for name in ("PULUMI_BACKEND_URL", "DOCKER_CONFIG", "TRIVY_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_the_good_example_is_read(root: Path, reader: Reader) -> None:
    """A reader that refuses its example would be tried at its first line only."""
    try:
        reader.read(root, reader.good)
    except (SlipwayError, *reader.documented) as error:
        assert reader.name in REFUSED, error


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_whatever_a_text_holds_the_outcome_is_a_value_or_an_error_for_users(root: Path, reader: Reader) -> None:
    rng = random.Random(f"{SEED} {reader.name}")
    for number in range(EACH):
        data = mutated(rng, reader.good)
        try:
            reader.read(root, data)
        except SlipwayError as error:
            assert error.message, data[:500]
        except reader.documented:
            pass
        except Exception as error:
            error.add_note(f"{reader.name}, mutation {number}: {data[:300]!r}")
            raise
