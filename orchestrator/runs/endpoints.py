"""Probe the endpoints of a run before it begins."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from neurogloss.config.language_models import ExplainerConfig, SimulatorConfig
from neurogloss.config.run import RunConfig
from neurogloss.config.scoring import ScorerConfig
from neurogloss.llm.calls import Answer
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.prefill_probe import probe_prefill
from neurogloss.llm.probe import Probe, probe, probe_chat, probe_kind
from neurogloss.llm.scorer_probe import probe_scorer
from neurogloss.neurons.simulators.kinds import SimulatorChoice


@dataclass(frozen=True, slots=True)
class Readiness:
    """Results of probing a run's endpoints, with the paid answers, which count as spend of the run.

    `simulator` is None if the run simulates without calls.
    """

    simulator: SimulatorChoice | None
    answers: tuple[Answer, ...]


def check_endpoints(config: RunConfig, env: Mapping[str, str] = os.environ) -> Readiness:
    """Probe which kind of simulator works, and whether explainer and scorer answer.

    Raises:
        RunError: An endpoint cannot be reached, rejects its key or model, or lacks a feature that
            the configuration needs.
    """
    simulator: SimulatorChoice | None = None
    answers: list[Answer] = []
    if "explainer" in config.calling:
        endpoint = _endpoint(config, config.explainer, env)
        explainer = config.explainer
        answers += probe_chat(endpoint, explainer.model, explainer.max_tokens).answers
        if explainer.prefill:
            answers += probe_prefill(endpoint, explainer.model, explainer.max_tokens).answers
    if config.simulator.kind != "lookup":
        part = config.simulator
        endpoint = _endpoint(config, part, env)
        simulator, probed = probe_kind(endpoint, part.model, part.kind, part.max_tokens)
        answers += probed.answers
    if config.scoring.also and not _is_probed_as_explainer(config):
        endpoint = _endpoint(config, config.scorer, env)
        answers += probe_chat(endpoint, config.scorer.model, config.scorer.max_tokens).answers
    return Readiness(simulator, tuple(answers))


def _is_probed_as_explainer(config: RunConfig) -> bool:
    """Return whether the scorer has the explainer's endpoint and model, which were just probed."""
    explainer, scorer = config.explainer, config.scorer
    is_same = (explainer.endpoint, explainer.model) == (scorer.endpoint, scorer.model)
    return is_same and explainer.kind != "lookup"


def probe_parts(
    config: RunConfig,
    tell: Callable[[str], None] = lambda step: None,
    env: Mapping[str, str] = os.environ,
) -> dict[str, Probe]:
    """Probe all features of the models of a configuration; return the probes by role.

    Args:
        config: The configuration.
        tell: Called with each step before it is taken.
        env: For the keys of endpoints.

    Raises:
        RunError: An endpoint cannot be reached, or rejects its key or model.
    """
    probes = {}
    if "explainer" in config.calling:
        tell(f"explainer: whether {config.explainer.model} answers")
        endpoint = _endpoint(config, config.explainer, env)
        explainer = config.explainer
        probes["explainer"] = probe_chat(endpoint, explainer.model, explainer.max_tokens)
        if explainer.prefill:
            probes["prefill"] = probe_prefill(endpoint, explainer.model, explainer.max_tokens)
    if config.simulator.kind != "lookup":
        tell(f"simulator: which kinds work with {config.simulator.model}")
        endpoint = _endpoint(config, config.simulator, env)
        probes["simulator"] = probe(
            endpoint, config.simulator.model, max_tokens=config.simulator.max_tokens
        )
    if config.scoring.also:
        part = config.scorer
        tell(f"scorer: whether {part.model} writes JSON")
        endpoint = _endpoint(config, part, env)
        probes["scorer"] = probe_scorer(endpoint, part.model, part.top_logprobs, part.max_tokens)
    return probes


def _endpoint(
    config: RunConfig,
    part: ExplainerConfig | SimulatorConfig | ScorerConfig,
    env: Mapping[str, str],
) -> Endpoint:
    return Endpoint.from_config(part.endpoint, config.endpoints[part.endpoint], env)
