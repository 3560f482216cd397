"""The calls and tokens of a run's stages, and the number of neurons that they finished."""

from typing import NamedTuple

from sqlalchemy import Connection, text

_STAGES = text("""
    SELECT stage, model, finished.neurons, calls, prompt_tokens, cached_tokens, completion_tokens
    FROM spend JOIN (
        SELECT stage, sum(done + failed) AS neurons FROM progress WHERE run_id = :run GROUP BY 1
    ) AS finished USING (stage)
    WHERE run_id = :run AND finished.neurons > 0 ORDER BY stage, model
""")


class StageSpend(NamedTuple):
    """The calls of a stage to a model, useless answers included, and the neurons it finished."""

    stage: str
    model: str
    neurons: int
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


def stage_spend(connection: Connection, run_id: int) -> list[StageSpend]:
    """Return what the stages about neurons asked, of those that finished any."""
    return [StageSpend(*row) for row in connection.execute(_STAGES, {"run": run_id})]
