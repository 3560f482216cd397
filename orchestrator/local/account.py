"""The account that the servers run under.

It is the one of the command itself, unless that is root: Postgres refuses to run as root. Then it
is the owner of the home folder, so that root and the owner can take turns on the same data, or
`nobody` where root owns that too.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.local.errors import ServiceError


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """A user of this machine, by numbers: in a container it may have no name."""

    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """Whether the permission bits of `folder`, access lists aside, let the account in."""
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def can_reach(self, path: Path) -> bool:
        """Whether every folder on the way to `path` lets the account in."""
        return all(self.can_enter(folder) for folder in path.resolve().parents)

    def open_to_append(self, path: Path) -> BinaryIO:
        """Open `path`, made as a file of the account if it is missing."""
        file = path.open("ab")
        if os.geteuid() == 0:
            os.fchown(file.fileno(), self.uid, self.gid)
        return file


def server_account(home: Path) -> ServerAccount:
    """Return the account for the servers whose data are in `home`, which exists."""
    if os.geteuid() != 0:
        return ServerAccount(os.geteuid(), os.getegid())
    owner = home.stat()
    if owner.st_uid != 0:
        return ServerAccount(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return ServerAccount(nobody.pw_uid, nobody.pw_gid)


def command_as(account: ServerAccount, command: list[str], paths: Iterable[Path]) -> list[str]:
    """Return the command line that runs `command`, which uses `paths`, under `account`.

    Raises:
        ServiceError: It takes a change of account, and there is no `setpriv` to make it.
    """
    if account.uid == os.geteuid():
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ServiceError(
            "as root, the embedded services need the command `setpriv` (package util-linux); "
            "install it, run as an ordinary user, or set DATABASE_URL and REDIS_URL"
        )
    switch = [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    if not all(account.can_reach(path) for path in (Path(command[0]), *paths)):
        # The home or the virtual environment lies in a folder closed to others, such as /root.
        # Opening that folder would outlive us; this capability ends with the server. Without the
        # bit, access(2) would leave it out of account, by which Postgres looks for its own binary.
        switch += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        switch += ["--securebits=+no_setuid_fixup"]
    return [*switch, "--", *command]


def make_private_folder(folder: Path, account: ServerAccount) -> None:
    """Make `folder`, if it is missing, one that only `account` (and root) can enter.

    Raises:
        ServiceError: Something else has that name already, such as a folder of another user.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid == os.geteuid() != account.uid:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not private or status.st_uid != account.uid:
        raise ServiceError(
            f"{folder} should be a folder that only user {account.uid} can enter, but is "
            f"{stat.filemode(status.st_mode)} of user {status.st_uid}; remove it"
        )
