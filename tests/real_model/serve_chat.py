"""Serve a GGUF model with llama.cpp's own server, which the package xllamacpp holds as a wheel.

usage: serve_chat.py MODEL.gguf ALIAS CONTEXT PARALLEL

CONTEXT tokens are shared out among PARALLEL calls. The address is printed once it listens.
"""

import signal
import sys

import xllamacpp


def serve(path: str, alias: str, context: int, parallel: int) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = context
    params.n_parallel = parallel
    params.kv_unified = False
    params.use_jinja = True
    for pool in (params.cpuparams, params.cpuparams_batch):
        pool.n_threads = 1  # more would wait for each other in busy loops, on a busy machine
        pool.poll = 0
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    signal.pause()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
