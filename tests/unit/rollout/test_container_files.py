"""Files for a container's volumes."""

from __future__ import annotations

import io
import tarfile

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import container_files
from slipway._internal.rollout.container_files import FileOwner, build_archive, resolve_owner

USERS = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/app:/bin/false\n"
GROUPS = "root:x:0:\nstaff:x:50:app\n"


@pytest.fixture(autouse=True)
def databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that has users and groups by name."""
    monkeypatch.setattr(
        container_files, "read_file", lambda _, path: {"/etc/passwd": USERS, "/etc/group": GROUPS}[path]
    )


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", FileOwner(0, 0)),
        ("65532:65532", FileOwner(65532, 65532)),
        ("65532", FileOwner(65532, 0)),
        ("app", FileOwner(1000, 1001)),
        ("app:staff", FileOwner(1000, 50)),
        ("app:7", FileOwner(1000, 7)),
    ],
)
def test_an_images_user_is_told_in_numbers(user: str, expected: FileOwner) -> None:
    assert resolve_owner(None, user) == expected


def test_a_user_that_the_image_does_not_know_is_an_error_with_a_remedy() -> None:
    with pytest.raises(SlipwayError, match="nobody-here") as caught:
        resolve_owner(None, "nobody-here")
    assert "USER 65532" in caught.value.remedy


def test_an_archive_keeps_owner_mode_and_content() -> None:
    with tarfile.open(fileobj=io.BytesIO(build_archive({"T": "å"}, owner=FileOwner(7, 8), mode=0o400))) as tar:
        [entry] = tar.getmembers()
        content = tar.extractfile(entry)
        assert content and content.read().decode() == "å"
    assert (entry.name, entry.uid, entry.gid, entry.mode) == ("T", 7, 8, 0o400)
