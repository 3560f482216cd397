"""The runs in `before.dump`, and what is read of them; `make_backup.py` wrote it."""

from tests.golden.pinned import HERE
from tests.golden.world import BASE_URL

BACKUP = HERE / "before.dump"
WHOLE, HALF, READING, IMPORTED = "whole", "half", "reading", "imported"
N = 8  # neurons of each run but the imported one

_SMALL = """
name = "{name}"
[corpus]
excerpts = {corpus}
excerpt_tokens = 16
[records]
top = 8
random = 6
per_quantile = 1
[neurons]
layers = [{layer}]
per_layer = 8
[shards]
excerpts = {excerpts}
neurons = {neurons}
"""
_ASKED = """
[explainer]
endpoint = "e"
model = "rehearsal explainer"
candidates = 2
revise = true
sentences = 8
[simulator]
kind = "json"
endpoint = "e"
model = "rehearsal simulator"
[scoring]
top = 2
random = 2
calibration = ["linear"]
also = ["detection"]
[scorer]
endpoint = "e"
model = "rehearsal scorer"
[ablation]
per_layer = 2
[connections]
neurons = 3
tokens = 3
[endpoints.e]
base_url = "{url}"
[endpoints.e.prices."rehearsal simulator"]
input = 4.0
output = 8.0
"""
_LOOKUP = """
[explainer]
kind = "lookup"
[simulator]
kind = "lookup"
[scoring]
top = 2
random = 2
[connections]
neurons = 3
tokens = 3
"""
CONFIGS = {
    WHOLE: _SMALL.format(name=WHOLE, corpus=200, layer=0, excerpts=64, neurons=4)
    + _ASKED.format(url=BASE_URL),
    HALF: _SMALL.format(name=HALF, corpus=200, layer=3, excerpts=64, neurons=1)
    + _ASKED.format(url=BASE_URL),
    READING: _SMALL.format(name=READING, corpus=800, layer=5, excerpts=4, neurons=2) + _LOOKUP,
}

DONE = """
    SELECT stage, step, shard.state, count(*) AS n FROM shard JOIN run ON run.id = run_id
    WHERE run.name = '{name}' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
"""How many shards of a run are in which state."""
