"""Files for a container's volumes."""

from __future__ import annotations

import io
import tarfile

import pytest

from slipway.model.errors import SlipwayError
from slipway.provider import files
from slipway.provider.files import Owner, archive, owner

USERS = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/app:/bin/false\n"
GROUPS = "root:x:0:\nstaff:x:50:app\n"


@pytest.fixture(autouse=True)
def databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that has users and groups by name."""
    monkeypatch.setattr(files, "get", lambda _, path: {"/etc/passwd": USERS, "/etc/group": GROUPS}[path])


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Owner(0, 0)),
        ("65532:65532", Owner(65532, 65532)),
        ("65532", Owner(65532, 0)),
        ("app", Owner(1000, 1001)),
        ("app:staff", Owner(1000, 50)),
        ("app:7", Owner(1000, 7)),
    ],
)
def test_an_images_user_is_told_in_numbers(user: str, expected: Owner) -> None:
    assert owner(None, user) == expected


def test_a_user_that_the_image_does_not_know_is_an_error_with_a_remedy() -> None:
    with pytest.raises(SlipwayError, match="nobody-here") as caught:
        owner(None, "nobody-here")
    assert "USER 65532" in caught.value.remedy


def test_an_archive_keeps_owner_mode_and_content() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive({"T": "å"}, owner=Owner(7, 8), mode=0o400))) as tar:
        [entry] = tar.getmembers()
        content = tar.extractfile(entry)
        assert content and content.read().decode() == "å"
    assert (entry.name, entry.uid, entry.gid, entry.mode) == ("T", 7, 8, 0o400)
