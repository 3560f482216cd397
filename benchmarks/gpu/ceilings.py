"""What the card can do: memory, copies, matrix products."""

import os

import torch
import transformers

from benchmarks.gpu.bench import PRECISIONS, Bench

_ROWS = (2048, 16_384, 32_768)  # of 32, 256 and 512 excerpts


def ceilings(bench: Bench) -> None:
    """Measure the copies and products that bound everything else."""
    card = torch.cuda.get_device_name(0) if bench.has_cuda else "cpu"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    bench.say("machine", card=card, cpus=os.cpu_count(), **versions)
    if bench.has_cuda:
        _copies(bench)
        for precision in bench.precisions:
            _products(bench, precision)


def _copies(bench: Bench) -> None:
    source = torch.empty(2 << 30, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    seconds = bench.seconds(lambda: target.copy_(source), 5)
    bench.say("copy on the device, both directions counted", tb_s=round(2**32 / seconds / 1e12, 2))
    pageable = torch.zeros(64 << 20, dtype=torch.uint8)
    for name, host in (("pageable", pageable), ("pinned", pageable.pin_memory())):
        seconds = bench.seconds(lambda host=host: host.copy_(source[: len(host)]), 5)
        bench.say("copy to the host", memory=name, gb_s=round(len(host) / seconds / 1e9, 1))


def _products(bench: Bench, precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    for n in _ROWS:
        x, weight, bias = (
            torch.randn(size, device=bench.device, dtype=PRECISIONS[precision])
            for size in ((n, 1600), (1600, 6400), (6400,))
        )
        seconds = bench.seconds(lambda b=bias, x=x, w=weight: torch.addmm(b, x, w), 5)
        rate = 2 * n * 1600 * 6400 / seconds / 1e12
        bench.say("product of XL", precision=precision, rows=n, tflop_s=round(rate, 1))
