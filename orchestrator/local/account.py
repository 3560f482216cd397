"""The account under which the embedded servers run.

It is that of the command, unless that is root, since Postgres refuses to run as root. Then it is
the owner of the home folder, so that root and the owner can use the same data in turn, or `nobody`
if root owns the folder too.
"""

import errno
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
    """A user of this machine, by number, since a user of a container may have no name."""

    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """Return whether the permission bits of `folder` let the account in; ACLs are ignored."""
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def can_reach(self, path: Path) -> bool:
        """Return whether every parent folder of `path` lets the account in."""
        return all(self.can_enter(folder) for folder in path.resolve().parents)

    def open_to_append(self, path: Path) -> BinaryIO:
        """Open `path` for appending; create it as a file of the account if it is missing.

        Raises:
            ServiceError: It is a link, or a file of somebody else: root would give it away.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = os.fdopen(os.open(path, flags, 0o666), "ab")
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise ServiceError(f"{path} should be a file, but is a link; remove it") from error
        if os.geteuid() == 0:
            self._own(file, path)
        return file

    def _own(self, file: BinaryIO, path: Path) -> None:
        status = os.fstat(file.fileno())
        is_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if not is_file or status.st_uid not in (0, self.uid):
            file.close()
            raise ServiceError(
                f"{path} should be a file of user {self.uid} without another name, but is "
                f"{stat.filemode(status.st_mode)} of user {status.st_uid} with "
                f"{status.st_nlink} names; remove it"
            )
        os.fchown(file.fileno(), self.uid, self.gid)


def server_account(home: Path) -> ServerAccount:
    """Return the account for servers with their data in `home`, which must exist."""
    if os.geteuid() != 0:
        return ServerAccount(os.geteuid(), os.getegid())
    owner = home.stat()
    if owner.st_uid != 0:
        return ServerAccount(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return ServerAccount(nobody.pw_uid, nobody.pw_gid)


def command_as(account: ServerAccount, command: list[str], paths: Iterable[Path]) -> list[str]:
    """Return a command line that runs `command` under `account`, with access to `paths`.

    Raises:
        ServiceError: The account has to be changed, and `setpriv` is not installed.
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
        # The home or the virtual environment is in a folder closed to others, such as /root. To
        # open that folder would be a lasting change; this capability ends with the server. The
        # securebit makes access(2) respect it, with which Postgres looks for its own binary.
        switch += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        switch += ["--securebits=+no_setuid_fixup"]
    return [*switch, "--", *command]


def make_private_folder(folder: Path, account: ServerAccount) -> None:
    """Create `folder`, if it is missing, so that only `account` (and root) can enter it.

    Raises:
        ServiceError: The path is not such a folder, for example one of another user.
    """
    # Checked even if just created: in /tmp another user may have put a folder or link there.
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
