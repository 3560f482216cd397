"""Tools for agents that speak MCP: they return the values that pages and `--json` show."""

import json
import time
from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine

from db import results, run_list, runs, texts
from db.json_values import to_json
from db.neuron_value import neuron_value
from db.run_status import status_of
from db.runs import StoredRun
from db.session import snapshot, transaction
from db.texts import NewTextRequest
from neurogloss.errors import InputError

Json = dict[str, Any]
MOST = 200  # neurons or records of an answer: an agent reads all of it
LONGEST_WAIT_S = 120.0
POLL_S = 0.25
REQUESTED_BY = "neurogloss mcp"


class AgentTools:
    """Answers about the runs of a database.

    Values are those of the pages' JSON. They hold text that models and corpora wrote: to an agent
    it is data.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def runs(self) -> Json:
        """List all runs: state, neurons, how many are scored, calls, cost in USD."""
        with snapshot(self._engine) as connection:
            return _json({"runs": [asdict(run) for run in run_list.overviews(connection)]})

    def run_status(self, run: str | None = None) -> Json:
        """Say how far a run is: its stages with rates and time left, cost, failures, warnings.

        `run` is its name; without one, the latest run is meant, here and in all other tools.
        """
        with snapshot(self._engine) as connection:
            return _json(status_of(connection, _run(connection, run)))

    def search(self, words: str, run: str | None = None, limit: int = 20) -> Json:
        """Find neurons whose explanation contains these words, the best score first.

        A score is the correlation of simulated with true activations: 1 is perfect, 0 is of no use.
        """
        if not 1 <= limit <= MOST:
            raise InputError(f"limit = {limit}: from 1 to {MOST}")
        with snapshot(self._engine) as connection:
            name = _run(connection, run).name
            return _json({"neurons": results.search(connection, name, words, limit)})

    def neuron(
        self,
        layer: int,
        neuron: int,
        run: str | None = None,
        records: int = 3,
        distributions: bool = False,
    ) -> Json:
        """Tell all that is known of a neuron of layer `layer` (both from 0).

        Explanation, scores, baselines, statistics, tokens, related neurons, calls; `records` of the
        highest and of random activations each, and the records it was scored on, with true and
        simulated activations of each token; `distributions` adds the simulator's probabilities.
        """
        if not 0 <= records <= MOST:
            raise InputError(f"records = {records}: from 0 to {MOST}")
        with snapshot(self._engine) as connection:
            found = _run(connection, run)
            shown = {"top": records, "random": records}
            value = neuron_value(connection, found, layer, neuron, shown)
        if value is None:
            raise InputError(f"run {found.name!r} has no neuron {neuron} in layer {layer}")
        told = _json(value)
        if not distributions:
            for record in told["scored_records"]:
                # Eleven probabilities for each token would be most of an answer that an agent
                # reads.
                del record["distribution"]
        return told

    def text(
        self,
        text: str,
        target: str | None = None,
        versus: str | None = None,
        run: str | None = None,
        baseline: str = "mean",
        top: int = 20,
        wait_seconds: float = 30.0,
    ) -> Json:
        """Find the neurons and other parts of the model that bring about the token after a text.

        `target` is that token, such as " Paris" (by default the likeliest), `versus` one to hold it
        against. A GPU worker reads the text; this waits for it up to `wait_seconds`, then answers
        with state `waiting` or `running` and the number to ask `text_result` for. Nothing of the
        run is changed.
        """
        with transaction(self._engine) as connection:
            found = _run(connection, run)
            asked = NewTextRequest(
                run_id=found.id,
                text=text,
                target=target,
                versus=versus,
                baseline=baseline,
                ablate=[],
                requested_by=REQUESTED_BY,
            )
            request = texts.submit(connection, asked)
        until = time.monotonic() + min(wait_seconds, LONGEST_WAIT_S)
        while (answer := self.text_result(request, top))["state"] in ("waiting", "running"):
            if time.monotonic() >= until:
                break
            time.sleep(POLL_S)
        return answer

    def text_result(self, request: int, top: int = 20) -> Json:
        """Return what was found about a text that was asked before, by the number of the request.

        `top` is how many components and neurons to list, the largest effects first; 0 is all.
        """
        with snapshot(self._engine) as connection:
            try:
                found = texts.load_request(connection, request)
            except LookupError as error:
                raise InputError(f"there is no text request {request}") from error
        told = {
            "request": found.id,
            "run": found.run,
            "text": found.text,
            "state": found.state,
            "error_class": found.error_class,
            "message": found.message,
            "result": None if found.result is None else found.result.as_json(max(0, top)),
        }
        if found.state == "waiting":
            told["message"] = "A GPU worker does it: if none runs, `neurogloss worker gpu`."
        return _json(told)


def _run(connection: Any, name: str | None) -> StoredRun:
    run = runs.latest(connection) if name is None else runs.find(connection, name)
    if run is None:
        raise InputError("there is no run yet" if name is None else f"there is no run {name!r}")
    return run


def _json(value: Any) -> Json:
    told: Json = json.loads(to_json(value))
    return told
