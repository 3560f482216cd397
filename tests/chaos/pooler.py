"""PgBouncer in transaction mode, in front of Postgres: each transaction may be on another session.

It ignores no start-up option, as it does not by default: one that it does not know is refused.
"""

import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.local.account import ServerAccount, command_as, make_private_folder

PORT = 6432  # part of the socket's name
CONFIG = """
[databases]
neurogloss = host={postgres} port=5432 dbname=neurogloss user=neurogloss
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = 40
max_client_conn = 400
logfile = {folder}/log
"""


def program() -> str | None:
    """Return the path of PgBouncer; None where it is not installed."""
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")


@dataclass
class Pooler:
    """PgBouncer between a folder of its own and the socket of Postgres."""

    folder: Path
    postgres: Path
    account: ServerAccount
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{PORT}"

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, with nothing in its pool."""
        make_private_folder(self.folder, self.account)
        self.socket.unlink(missing_ok=True)
        config = self.folder / "config.ini"
        config.write_text(CONFIG.format(postgres=self.postgres, folder=self.folder, port=PORT))
        config.chmod(0o644)
        command = command_as(self.account, [str(program()), "-q", str(config)], [config])
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """End it, with all connections through it."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
