"""Files of the embedded servers, in a folder that belongs to somebody else than root."""

import os

import pytest

from orchestrator.local.account import ServerAccount
from orchestrator.local.errors import ServiceError

# CI and containers run the tests as root; another user could not give a file away at all.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners")
OWNER = ServerAccount(12345, 12345)


@as_root
def test_root_gives_a_file_that_it_makes_to_the_account(tmp_path):
    path = tmp_path / "services.lock"
    for _ in range(2):
        OWNER.open_to_append(path).close()
        assert (path.stat().st_uid, path.stat().st_gid) == (OWNER.uid, OWNER.gid)


@as_root
@pytest.mark.parametrize("owner", [0, 54321])
def test_root_does_not_give_away_a_file_that_has_another_name(tmp_path, owner):
    other = tmp_path / "shadow"
    other.write_text("secret")
    os.chown(other, owner, owner)
    (tmp_path / "services.lock").hardlink_to(other)
    with pytest.raises(ServiceError, match="with 2 names; remove it"):
        OWNER.open_to_append(tmp_path / "services.lock")
    assert (other.stat().st_uid, other.read_text()) == (owner, "secret")


@as_root
def test_root_does_not_give_away_a_file_of_somebody_else(tmp_path):
    path = tmp_path / "services.lock"
    path.write_text("")
    os.chown(path, 54321, 54321)
    with pytest.raises(ServiceError, match="of user 54321"):
        OWNER.open_to_append(path)
    assert path.stat().st_uid == 54321


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "other").write_text("")
    (tmp_path / "services.lock").symlink_to("other")
    with pytest.raises(ServiceError, match="is a link; remove it"):
        OWNER.open_to_append(tmp_path / "services.lock")
