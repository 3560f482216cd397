"""Serve completions with `echo` and log probabilities of a GGUF model, as the paper's method asks.

llama.cpp's server gives no log probabilities of a prompt. The package ik-llama-cpp-python evaluates
prompts; the HTTP around it is ours, and knows the one request that the simulator makes.

usage: serve_echo.py MODEL.gguf ALIAS CONTEXT
"""

import codecs
import ctypes
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from ik_llama_cpp import _ctypes_api as llama
from ik_llama_cpp._internals import IkContext, IkModel

AT_ONCE = 256  # tokens of a prompt
MOST_LOGPROBS = 20
Alternatives = dict[int, float]  # log probabilities of the likeliest tokens at a place


class PromptReader:
    """Evaluates prompts, one after another; what a prompt shares with the last one is kept."""

    def __init__(self, path: str, context: int) -> None:
        self.model = IkModel(path)
        self._context = IkContext(self.model, n_ctx=context, n_threads=1, flash_attn=False)
        self._forget = next(
            value for value in vars(llama).values() if isinstance(value, ctypes.CDLL)
        ).llama_kv_cache_seq_rm
        self._forget.argtypes = [ctypes.c_void_p, *[ctypes.c_int32] * 3]
        self._held: list[int] = []
        self._following: list[tuple[Alternatives, np.ndarray]] = []

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token, which may be a part of a character."""
        buffer = ctypes.create_string_buffer(256)
        n = llama.llama_token_to_piece(self.model.model, token, buffer, len(buffer), 0, True)
        return buffer.raw[: max(n, 0)]

    def read(self, tokens: list[int]) -> tuple[list[Alternatives], list[float]]:
        """Return the alternatives after each token, and the log probability of each but the first.

        The last token is evaluated even where the whole prompt is known.
        """
        same = 0
        while same < min(len(self._held), len(tokens) - 1) and self._held[same] == tokens[same]:
            same += 1
        self._forget(self._context.ctx, 0, same, -1)
        del self._held[same:], self._following[same:]
        for start in range(same, len(tokens), AT_ONCE):
            self._evaluate(tokens[start : start + AT_ONCE])
        pairs = zip(self._following, tokens[1:], strict=False)
        return [best for best, _ in self._following], [float(all_[t]) for (_, all_), t in pairs]

    def _evaluate(self, tokens: list[int]) -> None:
        first = len(self._held)
        batch = llama.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, first + i
            batch.n_seq_id[i], batch.logits[i] = 1, 1
            batch.seq_id[i][0] = 0
        status = self._context.decode(batch)
        llama.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode returned {status}")
        self._held += tokens
        self._following += [self._alternatives(i) for i in range(len(tokens))]

    def _alternatives(self, place: int) -> tuple[Alternatives, np.ndarray]:
        pointer = llama.llama_get_logits_ith(self._context.ctx, place)
        logits = np.ctypeslib.as_array(pointer, shape=(self.model.n_vocab,)).astype(np.float64)
        logits -= logits.max()
        logprobs = (logits - np.log(np.exp(logits).sum())).astype(np.float32)
        best = np.argpartition(logprobs, -MOST_LOGPROBS)[-MOST_LOGPROBS:]
        ordered = best[np.argsort(-logprobs[best])]
        return {int(token): float(logprobs[token]) for token in ordered}, logprobs


def completion(reader: PromptReader, body: dict[str, Any], context: int) -> dict[str, Any]:
    """Return the answer to a request with `echo`, `logprobs` and `max_tokens` = 1.

    Raises:
        ValueError: The prompt is too long.
    """
    tokens = reader.model.tokenize(body["prompt"], add_bos=False)
    if len(tokens) >= context:
        raise ValueError(
            f"This model's maximum context length is {context} tokens, however you requested "
            f"{len(tokens) + 1} tokens"
        )
    alternatives, logprobs = reader.read(tokens)
    said, n_named = next(iter(alternatives[-1])), body["logprobs"]
    texts, offsets = _texts([reader.piece(token) for token in [*tokens, said]])
    named = [
        {reader.piece(token).decode(errors="replace"): top[token] for token in list(top)[:n_named]}
        for top in alternatives
    ]
    usage = {"prompt_tokens": len(tokens), "completion_tokens": 1, "total_tokens": len(tokens) + 1}
    choice = {
        "index": 0,
        "text": body["prompt"] + texts[-1],
        "finish_reason": "length",
        "logprobs": {
            "tokens": texts,
            "token_logprobs": [None, *logprobs, alternatives[-1][said]],
            "top_logprobs": [None, *named],
            "text_offset": offsets,
        },
    }
    return {"id": "echo", "object": "text_completion", "choices": [choice], "usage": usage}


def _texts(pieces: list[bytes]) -> tuple[list[str], list[int]]:
    """Return the text and offset of each token; a character belongs to the token that ends it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(piece) for piece in pieces]
    offsets = np.cumsum([0, *map(len, texts[:-1])])
    return texts, [int(offset) for offset in offsets]


def handler(reader: PromptReader, alias: str, context: int) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests, one at a time."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.endswith("/v1/completions") or not body.get("echo"):
                message = "this server answers completions with echo alone"
                self._reply(404, {"error": {"message": message, "type": "not_found"}})
                return
            try:
                with lock:
                    answer = completion(reader, body, context)
            except ValueError as error:
                refusal = {"message": str(error), "code": "context_length_exceeded"}
                self._reply(400, {"error": refusal})
                return
            self._reply(200, answer | {"model": alias})

        def _reply(self, status: int, value: dict[str, Any]) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def serve(path: str, alias: str, context: int) -> None:
    reader = PromptReader(path, context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(reader, alias, context))
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
