"""A subject model whose neurons are wired to known tokens, and servers that know about them."""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import GPT2Config, GPT2LMHeadModel

N = 40  # tokens, and neurons; neuron n fires on token n
DENSE = N - 1  # but this one fires on every token


def save_planted(folder):
    """Save a GPT-2 whose layer norms see which token it is, and nothing else."""
    config = GPT2Config(
        vocab_size=N, n_positions=16, n_embd=N, n_inner=N, n_layer=1, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.transformer.h[0].attn.parameters():
            parameter.zero_()
        model.transformer.wpe.weight.zero_()
        model.transformer.wte.weight.copy_(torch.eye(N))
        model.transformer.h[0].mlp.c_fc.weight.copy_(torch.eye(N))
        model.transformer.h[0].mlp.c_fc.bias.fill_(-3.0)
        model.transformer.h[0].mlp.c_fc.bias[DENSE] = 5.0
    model.save_pretrained(folder)


def token_text(token):
    return f" w{token:02}"


class Oracle(BaseHTTPRequestHandler, ABC):
    """Answers chat completions with what `choice` makes of their bodies."""

    def log_message(self, *_):
        pass

    @abstractmethod
    def choice(self, body):
        """Return the message, with log probabilities if they are asked for, that answers a body."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        choice = {"finish_reason": "stop", **self.choice(body)}
        content = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(oracle: type[Oracle]) -> Iterator[str]:
    """Serve an oracle, and yield its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), oracle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
