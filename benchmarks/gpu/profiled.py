"""The kernels of one shard of GPT-2 XL in bfloat16, where they weigh most beside the products."""

from torch.profiler import ProfilerActivity
from torch.profiler import profile as record

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.speed import collect_once


def profile(bench: Bench) -> None:
    """Write the kernels and the host's functions by time to profile.txt."""
    n = 64 if bench.small else 512
    model = bench.model("gpt2-xl", "bfloat16")
    once = collect_once(model, bench.tokens(n))
    once()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * bench.has_cuda
    with record(activities=activities) as recorded:
        once()
        bench.synchronize()
    events = recorded.key_averages()
    device = events.table(
        sort_by="self_cuda_time_total" if bench.has_cuda else "self_cpu_time_total",
        row_limit=45,
        max_name_column_width=90,
    )
    host = events.table(sort_by="self_cpu_time_total", row_limit=30)
    if bench.out is not None:
        (bench.out / "profile.txt").write_text(device + host)
    copies = {e.key: e.count for e in events if "Memcpy" in e.key or "Synchronize" in e.key}
    launches = sum(e.count for e in events if e.key == "cudaLaunchKernel")
    bench.say("calls of the shard", launches=launches, **copies)
