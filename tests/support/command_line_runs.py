"""Configurations of small runs, and what is read of them."""

import json

from tests.support.corpus import small_corpus

TINY = """
name = "tiny"
[corpus]
excerpts = 300
[records]
top = 8
random = 6
[scoring]
top = 2
random = 2
control = 0.0
[neurons]
layers = [0, 3]
per_layer = 96
[shards]
excerpts = 50
neurons = 16
"""
LOOKUP = TINY + '[explainer]\nkind = "lookup"\n[simulator]\nkind = "lookup"\n'

DATASET = """
    SELECT (SELECT md5(string_agg(r::text, '' ORDER BY r.layer, r.neuron)) FROM (
                SELECT layer, neuron, excerpts, activations, top_records, random_records,
                       bucket_records, buckets, quantile_boundaries, mean, variance, skewness,
                       kurtosis FROM neuron_records) AS r) AS records,
           (SELECT md5(string_agg(layer || ' ' || neuron || text, '' ORDER BY layer, neuron))
            FROM explanation) AS explanations,
           (SELECT md5(string_agg(layer || ' ' || neuron || ' ' || excerpt ||
                       encode(expected_activations, 'hex'), '' ORDER BY layer, neuron, excerpt))
            FROM simulation) AS simulations,
           (SELECT md5(string_agg(s::text, '' ORDER BY s.layer, s.neuron)) FROM (
                SELECT layer, neuron, score, score_top, score_random, rsquared FROM score) AS s)
            AS scores,
           (SELECT count(*) FROM score) AS n
"""
PROGRESS = "SELECT stage, total, done, failed FROM run_progress ORDER BY stage_order"
BATCHED = """
mode = "batch"
[endpoints.here.batches]
fill_s = 0.5
poll_s = 0.3
max_lines = 100
"""
N_FEW = 16  # neurons
KEY = "sk-acceptance-7315"


def rows(cli, query):
    code, output = cli.run("sql", "--json", query)
    assert code == 0, output
    return json.loads(output)


def rehearsed(server):
    tiny = TINY.replace("[corpus]", f"[corpus]\nsource = {json.dumps(small_corpus())}")
    return f"""{tiny}
[explainer]
endpoint = "here"
model = "rehearsal"
[simulator]
kind = "json"
endpoint = "here"
model = "rehearsal"
[endpoints.here]
base_url = "{server.base_url}"
api_key_env = "ACCEPTANCE_KEY"
[endpoints.here.prices.rehearsal]
input = 0.15
cached_input = 0.075
output = 0.6
"""


def of_few_neurons(server, mode, explainer):
    """Return a configuration of few neurons, with more keys of `explainer`."""
    config = rehearsed(server).replace("per_layer = 96", "per_layer = 8")
    config = config.replace("[explainer]\n", f"[explainer]\n{explainer}\n")
    key = 'api_key_env = "ACCEPTANCE_KEY"\n'
    return config.replace(key, BATCHED if mode == "batch" else "")
