"""Weights that are not those of config.json are refused by their names, types and shapes alone."""

import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from neurogloss.errors import InputError
from neurogloss.subject.checkpoint import check_weights
from neurogloss.subject.files import DEMO_FOLDER
from neurogloss.subject.shape import read_shape

WEIGHTS = load_file(DEMO_FOLDER / "model.safetensors")
EMBEDDING = WEIGHTS["transformer.wte.weight"]


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(DEMO_FOLDER, tmp_path / "model")


def check(folder):
    check_weights(str(folder), read_shape(str(folder)))


def save(folder, weights, name="model.safetensors"):
    save_file({key: np.ascontiguousarray(value) for key, value in weights.items()}, folder / name)


def renamed(rename):
    return {rename(name): value for name, value in WEIGHTS.items()}


def with_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


HARMLESS = {
    "as it is": WEIGHTS,
    "without prefix": renamed(lambda name: name.removeprefix("transformer.")),
    "masks": WEIGHTS
    | {
        "transformer.h.0.attn.bias": np.ones((1, 1, 128, 128), np.uint8),
        "transformer.h.5.attn.masked_bias": np.array(-1e4, np.float32),
    },
    "output's matrix too": WEIGHTS | {"lm_head.weight": EMBEDDING},
    "output's matrix alone": renamed(
        lambda name: "lm_head.weight" if name.endswith("wte.weight") else name
    ),
    "head of a classifier": WEIGHTS | {"score.weight": np.ones((2, 128), np.float32)},
}


@pytest.mark.parametrize("weights", HARMLESS.values(), ids=HARMLESS.keys())
def test_harmless_variants_are_taken(folder, weights):
    save(folder, weights)
    check(folder)


def test_shards_and_adapters_are_taken(folder):
    (folder / "model.safetensors").unlink()
    names = sorted(WEIGHTS)
    shards = {"a.safetensors": names[:40], "b.safetensors": names[40:]}
    for file, part in shards.items():
        save(folder, {name: WEIGHTS[name] for name in part}, file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    save(folder, {"lora_A": np.ones((2, 2), np.float32)}, "adapter_model.safetensors")
    check(folder)
    (folder / "b.safetensors").unlink()
    with pytest.raises(InputError, match=r"lists b\.safetensors, which is not in this folder"):
        check(folder)


REFUSED = {
    "compiled": (
        renamed(lambda name: f"_orig_mod.{name}"),
        r"76 of 76 weights are missing, wte\.weight, .*name\.replace\('_orig_mod\.', ''\)",
    ),
    "compiled in parallel": (
        renamed(lambda name: f"_orig_mod.module.{name}"),
        r"\.replace\('_orig_mod\.', ''\)\.replace\('module\.', ''\)",
    ),
    "compiled by layer": (
        renamed(lambda name: name.replace(".attn.", "._orig_mod.attn.")),
        r"\.replace\('_orig_mod\.', ''\)",
    ),
    "in a trainer": (
        renamed(lambda name: f"model.{name}"),
        r"Rename them.*removeprefix\('model\.'\)",
    ),
    "compiled, and without biases": (
        {f"_orig_mod.{name}": w for name, w in WEIGHTS.items() if not name.endswith(".bias")},
        r"\.replace\('_orig_mod\.', ''\)",
    ),
    "a layer of a number that is none": (
        {f"transformer.h.{'9' * 5000}.ln_1.weight": np.ones(128, np.float32)},
        r"76 of 76 weights are missing.* with weights: 1 layers$",
    ),
    "no biases": (
        {name: value for name, value in WEIGHTS.items() if not name.endswith(".bias")},
        r"37 of 76 weights are missing.*as zeros",
    ),
    "one more layer": (
        WEIGHTS | {"transformer.h.6.ln_1.weight": np.ones(128, np.float32)},
        r"model\.safetensors: weights have no place .* n_layer = 6: h\.6\.ln_1\.weight",
    ),
    "adapters in place": (
        WEIGHTS | {"transformer.h.0.attn.c_attn.lora_A": np.ones((2, 2), np.float32)},
        r"h\.0\.attn\.c_attn\.lora_A\..*merged",
    ),
    "one missing": (
        {name: value for name, value in WEIGHTS.items() if "h.3.mlp.c_fc.w" not in name},
        r"1 of 76 weights are missing, h\.3\.mlp\.c_fc\.weight; .*n_layer = 6",
    ),
    "another vocabulary": (
        WEIGHTS | {"transformer.wte.weight": EMBEDDING[:-1]},
        r"model\.safetensors: wte\.weight has shape 4095 x 128; config\.json makes it 4096 x 128",
    ),
    "transposed": (
        WEIGHTS
        | {name: value.T for name, value in WEIGHTS.items() if "c_" in name and value.ndim == 2},
        r"c_attn\.weight has shape 384 x 128.*transposed, as nanoGPT",
    ),
    "quantized": (
        WEIGHTS | {"transformer.wte.weight": EMBEDDING.astype(np.int8)},
        r"wte\.weight is of type I8; quantized",
    ),
    "twice": (WEIGHTS | {"wte.weight": EMBEDDING}, r"twice.*wte\.weight"),
}


@pytest.mark.parametrize(("weights", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_other_weights_are_refused(folder, weights, reason):
    save(folder, weights)
    with pytest.raises(InputError, match=reason):
        check(folder)


def test_a_separate_output_matrix_is_no_embedding(folder):
    save(folder, HARMLESS["output's matrix alone"])
    with_config(folder, tie_word_embeddings=False)
    with pytest.raises(InputError, match=r"1 of 76 weights are missing, wte\.weight"):
        check(folder)


def test_a_layer_that_config_makes_up_is_missing(folder):
    with_config(folder, n_layer=7)
    with pytest.raises(InputError, match=r"12 of 88 .* n_layer = 7, with weights: 6 layers"):
        check(folder)


WHOLE = (DEMO_FOLDER / "model.safetensors").read_bytes()


def with_header(change):
    """Return the file with another header, in which `change` may alter the first two tensors."""
    length = int.from_bytes(WHOLE[:8], "little")
    header = json.loads(WHOLE[8 : 8 + length])
    tensors = sorted(header.keys() - {"__metadata__"}, key=lambda n: header[n]["data_offsets"])
    change(header, *tensors[:2])
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + WHOLE[8 + length :]


BROKEN = {
    "cut off": (WHOLE[:-1000], r"model\.safetensors was cut off: .* bytes"),
    "cut off in its header": (WHOLE[:100], "is no file of safetensors, or was cut off"),
    "empty": (b"", "is no file of safetensors, or was cut off"),
    "a pickle": (b"PK\x03\x04" + bytes(400), "is no file of safetensors"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "nested too deep": ((200_000).to_bytes(8, "little") + b"[" * 200_000, "nested too deep"),
    "no tensors": ((14).to_bytes(8, "little") + b'{"wte": [1, 2]', "cannot be read as JSON"),
    "bytes after the last tensor": (WHOLE + bytes(100), "has more than its header says"),
    "two tensors in one place": (
        with_header(lambda h, one, two: h[two].update(data_offsets=h[one]["data_offsets"])),
        "which does not fit its shape, or the tensor before it",
    ),
    "bytes that are no tensor's": (
        with_header(lambda h, first, second: h.pop(first)),
        "which does not fit its shape, or the tensor before it",
    ),
    "another type than the bytes": (
        with_header(lambda h, first, second: h[first].update(dtype="F64")),
        "which does not fit its shape",
    ),
    "no places": ((12).to_bytes(8, "little") + b'{"wte":"xx"}', "no place for 'wte'"),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_refused(folder, data, reason):
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=reason):
        check(folder)


def test_adapters_alone_are_no_model(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"neither model\.safetensors nor model\.saf"):
        check(folder)


def test_an_index_cannot_name_files_elsewhere(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"wte.weight": "../model.safetensors"}}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="no file of its folder"):
        check(folder)


INDEXES = {
    "a file that is not there": ({"metadata": {}, "weight_map": {"a": "b.safetensors"}}, "lists b"),
    "no metadata": ({"weight_map": {"a": "part.safetensors"}}, 'add "metadata": {} to it'),
    "no name": ({"metadata": {}, "weight_map": {"a": None}}, "names '', which is no file"),
    "no map": ({"metadata": {}}, 'has no "weight_map"'),
    "a list": ([], "no object of JSON"),
}


@pytest.mark.parametrize(("index", "reason"), INDEXES.values(), ids=INDEXES.keys())
def test_an_index_that_leads_nowhere_is_refused(folder, index, reason):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=reason):
        check(folder)


def test_weights_under_another_name_are_pointed_at(folder):
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    with pytest.raises(InputError, match=r"rename it to model\.safetensors"):
        check(folder)


def test_names_of_another_kind_are_shown(folder):
    save(folder, renamed(lambda name: name.replace(".h.", ".layers.")))
    with pytest.raises(InputError, match=r"others are there, transformer\.layers\.0\.attn"):
        check(folder)


def test_weights_of_the_hub_are_checked_where_they_are_cached(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--someone--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    save(snapshot, REFUSED["compiled"][0])
    with pytest.raises(InputError, match=r"'someone/model': model\.safetensors: 76 of 76"):
        check_weights("someone/model", read_shape("demo"))


class _Hub(BaseHTTPRequestHandler):
    """Serves one file of one model, as the hub does."""

    data: bytes

    def do_HEAD(self):
        self._answer(self.data)

    def do_GET(self):
        first, last = self.headers["range"].removeprefix("bytes=").split("-")
        self._answer(self.data[int(first) : int(last) + 1])

    def _answer(self, body):
        found = self.path == "/someone/model/resolve/main/model.safetensors"
        headers = {"ETag": '"1"', "X-Repo-Commit": "abc", "Content-Length": len(body)}
        self.send_response(200 if found else 404)
        for name, value in (headers if found else {"X-Error-Code": "EntryNotFound"}).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def asked(folder, tmp_path):
    """Check the weights of a model at a hub, in a process that knows this hub alone."""

    def ask(model, weights):
        save(folder, weights)
        handler = type("Hub", (_Hub,), {"data": (folder / "model.safetensors").read_bytes()})
        with HTTPServer(("127.0.0.1", 0), handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            env = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
            env |= {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
            command = [sys.executable, "-c", ASK, model]
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
            server.shutdown()
        return done.stdout + done.stderr

    return ask


ASK = """
import sys
from neurogloss.subject.checkpoint import check_weights
from neurogloss.subject.shape import read_shape
check_weights(sys.argv[1], read_shape("demo"))
"""


def test_weights_on_the_hub_are_checked_by_their_headers(asked):
    assert asked("someone/model", WEIGHTS) == ""
    answer = asked("someone/model", REFUSED["compiled"][0])
    assert "'someone/model': model.safetensors: 76 of 76 weights are missing" in answer
    assert "it has no .safetensors file" in asked("someone/pickled", WEIGHTS)
