"""A server that answers every connection by bytes that a test makes, however wrong they are."""

import gzip
import itertools
import socket
import threading
import time
from contextlib import contextmanager, suppress


@contextmanager
def raw_server(answer):
    """Yield the address of a server; `answer(send)` sends what each connection gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, answer), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener, answer):
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, answer), daemon=True).start()


def _serve(connection, answer):
    # A client that had enough of it goes away.
    with connection, suppress(OSError):
        connection.recv(1 << 16)
        answer(connection.sendall)
        connection.shutdown(socket.SHUT_WR)
        # A reset would overtake the answer where a request was not read to its end.
        time.sleep(0.2)


def head(*fields, status=200):
    lines = [f"HTTP/1.1 {status} OK", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def dripped_body(send):
    send(head())
    for _ in itertools.repeat(None):
        send(b" ")
        time.sleep(0.05)


def dripped_head(send):
    send(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in itertools.repeat(None):
        send(b"x")
        time.sleep(0.05)


def endless_body(send):
    send(head())
    for _ in itertools.repeat(None):
        send(b" " * (1 << 16))


def bomb(send):
    """Send 256 MiB of spaces, compressed once."""
    send(head("Content-Encoding: gzip") + gzip.compress(b" " * (256 << 20), 1))


def nested_bomb(send):
    """Send spaces, compressed three times: made in far less time than a test waits for it."""
    content = b" " * (8 << 20)
    for _ in range(3):
        content = gzip.compress(content, 1)
    send(head("Content-Encoding: gzip, gzip", "Content-Encoding: gzip") + content)


def unknown_compression(send):
    send(head("Content-Encoding: br") + b"\x0b\x02\x80{}\x03")


def false_compression(send):
    send(head("Content-Encoding: gzip") + b"no gzip at all")
