"""The rows of a made-up run, made in the database from templates, one layer after the other.

A neuron's place in the run, `g`, decides everything about it: its template, whether it is scored
yet, whether and where it failed, and when.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fill_templates import (
    PREDICTIONS,
    RANDOM,
    SIMULATIONS,
    TEMPLATES,
    TOP,
    explanations,
    make_templates,
    vocabulary,
)
from psycopg2.extras import execute_values
from sqlalchemy import Connection, text

EXPLAINER, SIMULATOR = "gpt-4o-mini", "gpt-4o-mini"
HOURS = 30  # that the run has taken
KEPT = 64  # neurons of each layer whose calls keep their distributions
_TABLES = {
    "made_neuron": TEMPLATES,
    "made_simulation": SIMULATIONS,
    "made_prediction": PREDICTIONS,
    "made_text": (("g", "int"), ("explanation", "text")),
}


@dataclass(frozen=True, slots=True)
class FilledLayer:
    """A layer of a made-up run, of whose neurons the first `scored` of all layers are scored."""

    run: int
    layer: int
    neurons: int
    layers: int
    scored: int
    templates: int
    tokens: int


def store_templates(
    connection: Connection, *, n: int, excerpts: int, words: int, neurons: int, seed: int
) -> None:
    """Store what rows are made of, until `drop_templates`."""
    made = make_templates(n, excerpts, words, seed)
    texts = enumerate(explanations(neurons, vocabulary(words), seed))
    rows = (made.neurons, made.simulations, made.predictions, texts)
    for (table, columns), of_table in zip(_TABLES.items(), rows, strict=True):
        _store(connection, table, columns, of_table)


def _store(
    connection: Connection,
    table: str,
    columns: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Store rows in a table of their own, by the driver's way of inserting many."""
    declared = ", ".join(f"{name} {kind}" for name, kind in columns)
    connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
    connection.execute(text(f"CREATE UNLOGGED TABLE {table} ({declared})"))
    with connection.connection.cursor() as cursor:
        row = "(" + ", ".join(f"%s::{kind}" for _, kind in columns) + ")"
        execute_values(cursor, f"INSERT INTO {table} VALUES %s", rows, row, page_size=500)  # noqa: S608
    key = columns[0][0]
    connection.execute(text(f"CREATE INDEX ON {table} ({key})"))
    connection.execute(text(f"ANALYZE {table}"))


def drop_templates(connection: Connection) -> None:
    """Drop what `store_templates` stored."""
    for table in _TABLES:
        connection.execute(text(f"DROP TABLE {table}"))


def add_layer(connection: Connection, layer: FilledLayer) -> None:
    """Store all that a run has of a layer, but its plan."""
    connection.execute(text("DROP TABLE IF EXISTS made"))
    for statement in (_MADE, *_STATEMENTS):
        connection.execute(text(statement), asdict(layer))


# Some fail, in ways that people see. Those behind the first `scored` are explained, or only
# collected; a neuron that failed has nothing of the stages after.
_MADE = f"""
    CREATE TEMP TABLE made ON COMMIT DROP AS
    SELECT g, neuron, template,
           now() - interval '{HOURS} hours' * (1 - g::float8 / :layers / :neurons) AS at,
           CASE WHEN g >= :scored + 640 THEN 'collected'
                WHEN g >= :scored THEN 'explained'
                WHEN reason IS NOT NULL THEN 'dead'
                WHEN g % 997 = 5 THEN 'refused'
                WHEN g % 499 = 11 THEN 'truncated'
                WHEN g % 251 = 3 THEN 'malformed'
                WHEN g % 1999 = 17 THEN 'unavailable'
                ELSE 'scored' END AS fate
    FROM (SELECT neuron, :layer * :neurons + neuron AS g,
                 ((:layer * :neurons + neuron)::bigint * 7919 % :templates)::int AS template
          FROM generate_series(0, :neurons - 1) AS neuron) AS placed
    JOIN made_neuron USING (template)
"""  # noqa: S608  (a constant)

_IDENTITY = "sha256(convert_to('{stage} ' || :run || ' ' || g || ' ' || {excerpt}, 'UTF8'))"
_EXPLAIN_CALL = _IDENTITY.format(stage="explain", excerpt="''")
_SIMULATE_CALL = _IDENTITY.format(stage="simulate", excerpt="excerpt")
_SCORES = "score, score_top, score_random, rsquared, absolute_dev_explained, undefined_reason"
_PRICE = "({prompt} * 0.15 + {completion} * 0.6) / 1e6"


def _call(stage: str, identity: str, model: str, answer: str, distributions: str) -> str:
    """Return the statement that stores the calls of a stage."""
    prompt, completion = (1450, 24) if stage == "explain" else (1180, 330)
    prompt_tokens, completion_tokens = f"{prompt} + g % 61", f"{completion} + g % 23"
    usd = _PRICE.format(prompt=f"({prompt_tokens})", completion=f"({completion_tokens})")
    return f"""
        INSERT INTO call (identity, run_id, purpose, endpoint, model, text, finish_reason,
            distributions, prompt_tokens, cached_tokens, completion_tokens, usd, wasted_usd,
            attempts, latency_ms, request_id, created_at)
        SELECT {identity}, :run, '{stage}', 'openai', '{model}', {answer},
               CASE WHEN fate = 'truncated' THEN 'length' ELSE 'stop' END, {distributions},
               {prompt_tokens}, 1024, {completion_tokens},
               CASE WHEN g % 401 = 9 THEN 0 ELSE {usd} END,
               CASE WHEN g % 401 = 9 THEN {usd} ELSE 0 END,
               1 + (g % 97 = 0)::int, 380 + g * 31 % 2600, 'req_' || md5(g::text), at
    """


_STATEMENTS = (
    f"""
    INSERT INTO neuron_records (run_id, layer, neuron, excerpts, activations, top_records,
        random_records, bucket_records, buckets, quantile_boundaries, max_activation, mean,
        variance, skewness, kurtosis, n_tokens, undefined_reason)
    SELECT :run, :layer, neuron, excerpts, activations,
           array(SELECT generate_series(0, {TOP - 1}))::smallint[],
           array(SELECT generate_series({TOP}, {TOP + RANDOM - 1}))::smallint[],
           bucket_records, buckets, quantile_boundaries, max_activation, mean, variance, skewness,
           kurtosis, :tokens, reason
    FROM made JOIN made_neuron USING (template)
    """,  # noqa: S608  (constants)
    """
    INSERT INTO token_means (run_id, layer, neuron, tokens, means, counts, top_tokens, default_mean)
    SELECT :run, :layer, neuron, tokens, means, counts, top_tokens, 0.03
    FROM made JOIN made_neuron USING (template)
    """,
    """
    INSERT INTO related_neurons (run_id, layer, neuron, direction, layers, neurons, weights)
    SELECT :run, :layer, neuron, direction,
           array(SELECT (found % abs(among) + first)::smallint FROM unnest(near) AS found
                 WHERE among > 0),
           array(SELECT (found / 64 % :neurons)::int FROM unnest(near) AS found WHERE among > 0),
           CASE WHEN among > 0 THEN weights ELSE '{}' END
    FROM made JOIN made_neuron USING (template)
    CROSS JOIN (VALUES ('upstream', 0, :layer), ('downstream', :layer + 1, :layers - :layer - 1))
        AS side (direction, first, among)
    """,
    """
    INSERT INTO related_tokens (run_id, layer, neuron, direction, tokens, weights)
    SELECT :run, :layer, neuron, direction,
           CASE direction WHEN 'input' THEN top_tokens[1:20] ELSE top_tokens[21:40] END, weights
    FROM made JOIN made_neuron USING (template)
    CROSS JOIN (VALUES ('input'), ('output')) AS side (direction)
    """,
    f"""
    INSERT INTO baseline_score (run_id, layer, neuron, baseline, {_SCORES})
    SELECT :run, :layer, neuron, baseline, {_SCORES}
    FROM made JOIN made_prediction USING (template)
    """,  # noqa: S608  (constants)
    f"""
    INSERT INTO explanation (run_id, layer, neuron, text, explainer, call, created_at)
    SELECT :run, :layer, neuron, explanation, '{EXPLAINER}', {_EXPLAIN_CALL}, at
    FROM made JOIN made_text USING (g)
    WHERE fate NOT IN ('collected', 'dead', 'refused', 'truncated')
    """,  # noqa: S608  (constants)
    f"""
    INSERT INTO simulation (run_id, layer, neuron, excerpt, expected_activations, distribution,
        activation_scale, simulator, call, covered)
    SELECT :run, :layer, neuron, excerpt, expected_activations, distribution,
           'simulated_normalized_activations', '{SIMULATOR}', {_SIMULATE_CALL}, covered
    FROM made JOIN made_simulation USING (template) WHERE fate = 'scored'
    """,  # noqa: S608  (constants)
    f"""
    INSERT INTO score (run_id, layer, neuron, created_at, {_SCORES})
    SELECT :run, :layer, neuron, at, {_SCORES}
    FROM made JOIN made_neuron USING (template) WHERE fate IN ('scored', 'dead')
    """,  # noqa: S608  (constants)
    """
    INSERT INTO failure (run_id, stage, layer, neuron, failure_class, message, attempts,
        request_id, failed_at)
    SELECT :run, CASE WHEN fate IN ('refused', 'truncated') THEN 'explain' ELSE 'simulate' END,
           :layer, neuron, fate,
           CASE fate WHEN 'refused' THEN 'the model refused: I cannot help with that'
                     WHEN 'truncated' THEN 'the answer is cut off after 60 tokens'
                     WHEN 'malformed' THEN 'the answer has no value for token ' || g % 64
                     ELSE 'no answer after 6 attempts: HTTP 503' END,
           1 + g % 6, 'req_' || md5(g::text), at
    FROM made WHERE fate IN ('refused', 'truncated', 'malformed', 'unavailable')
    """,
    _call("explain", _EXPLAIN_CALL, EXPLAINER, "explanation", "NULL")
    + "FROM made JOIN made_text USING (g) WHERE fate NOT IN ('collected', 'dead')",
    _call(
        "simulate",
        _SIMULATE_CALL,
        SIMULATOR,
        "answer",
        f"CASE WHEN neuron < {KEPT} THEN places END",
    )
    + "FROM made JOIN made_simulation USING (template) WHERE fate = 'scored'",
)
