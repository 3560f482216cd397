"""Sums of powers in one reading of the activations, by a kernel that is compiled at its first use.

torch's own kernels read and write them some fifteen times: 5.3 ms for a layer of GPT-2 XL and 512
excerpts on an H100, of which this one takes 0.3. It needs no compiler but NVRTC, which comes with
torch. torch offers NVRTC under a private name: where that is missing or fails, `load` returns None.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.utils import cpp_extension

from neurogloss.neurons.tiles import TILE

log = logging.getLogger(__name__)

Powers = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

_THREADS = 128  # of a block: four warps
_SOURCE = r"""
__device__ __forceinline__ float value(unsigned int bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"((unsigned short)bits));
  return x;
}

// A thread for two neurons of one excerpt: activations (excerpt, token, pair), sums (4, excerpt,
// neuron). Infinities and NaN become 0 where they are, and mark their neuron.
extern "C" __global__ void powers(
    unsigned int* activations, const float* shifts, const int* lengths, float* sums,
    unsigned char* nonfinite, int n_excerpts, int n_tokens, int n_pairs, int tile) {
  const int pair = blockIdx.x * blockDim.x + threadIdx.x;
  const long long excerpt = blockIdx.y;
  if (pair >= n_pairs) return;
  unsigned int* at = activations + excerpt * n_tokens * n_pairs + pair;
  const float* shift = shifts + (excerpt / tile) * 2 * n_pairs + 2 * pair;
  const float shift0 = shift[0], shift1 = shift[1];
  float a1 = 0, a2 = 0, a3 = 0, a4 = 0, b1 = 0, b2 = 0, b3 = 0, b4 = 0;
  bool lost0 = false, lost1 = false;
  const int stop = lengths[excerpt];
  #pragma unroll 8
  for (int token = 0; token < stop; token++) {
    const unsigned int read = at[(long long)token * n_pairs];
    unsigned int kept = read;
    if ((read & 0x7c00u) == 0x7c00u) { kept &= 0xffff0000u; lost0 = true; }
    if ((read & 0x7c000000u) == 0x7c000000u) { kept &= 0x0000ffffu; lost1 = true; }
    if (kept != read) at[(long long)token * n_pairs] = kept;
    const float d0 = value(kept & 0xffffu) - shift0, d1 = value(kept >> 16) - shift1;
    const float q0 = d0 * d0, q1 = d1 * d1;
    a1 += d0; a2 += q0; a3 += d0 * q0; a4 += q0 * q0;
    b1 += d1; b2 += q1; b3 += d1 * q1; b4 += q1 * q1;
  }
  const long long size = (long long)n_excerpts * 2 * n_pairs;
  float2* sum = (float2*)(sums + excerpt * 2 * n_pairs + 2 * pair);
  sum[0] = make_float2(a1, b1);
  sum[size / 2] = make_float2(a2, b2);
  sum[size] = make_float2(a3, b3);
  sum[3 * size / 2] = make_float2(a4, b4);
  if (lost0) nonfinite[2 * pair] = 1;
  if (lost1) nonfinite[2 * pair + 1] = 1;
}
"""


@lru_cache
def load(device: torch.device) -> Powers | None:
    """Return a function that computes sums of powers on a device, or None if it has none.

    The function takes activations, float16 (excerpt, position, neuron) with an even number of
    neurons and without gaps, whose infinities and NaN it sets to 0; the shift of each tile, float32
    (n_tiles, n_neurons); and the number of positions that count, int32 (excerpt,). It returns the
    sums of the first to fourth powers of the deviations, float32 (4, excerpt, neuron), and which
    neurons had an infinity or NaN, bool (n_neurons,).
    """
    if device.type != "cuda" or not hasattr(torch.cuda, "_compile_kernel"):
        return None
    if cpp_extension.CUDA_HOME is None:
        # torch looks for headers in it, and fails without one. This kernel includes none.
        cpp_extension.CUDA_HOME = "/usr"
    try:
        with torch.cuda.device(device):
            kernel = torch.cuda._compile_kernel(_SOURCE, "powers")
    except Exception as error:  # of NVRTC, of the driver, or of a name that is gone
        reason = str(error).split("\n", 1)[0][:200]
        log.warning("kernel not compiled", extra={"kernel": "powers", "reason": reason})
        return None
    return _launcher(kernel)


def _launcher(kernel: Any) -> Powers:
    def launch(
        activations: torch.Tensor, shifts: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        (n, n_tokens, width), device = activations.shape, activations.device
        sums = torch.empty((4, n, width), device=device)
        nonfinite = torch.zeros(width, dtype=torch.uint8, device=device)
        sizes = [n, n_tokens, width // 2, TILE]
        with torch.cuda.device(device):
            kernel(
                grid=(-(-width // 2 // _THREADS), n, 1),
                block=(_THREADS, 1, 1),
                args=[activations, shifts, lengths, sums, nonfinite, *sizes],
            )
        return sums, nonfinite.bool()

    return launch
