"""Check the subject model and the API keys of a configuration before anything is started."""

import os
from collections.abc import Mapping

from neurogloss.config.run import RunConfig
from neurogloss.errors import InputError
from neurogloss.subject.checkpoint import check_weights
from neurogloss.subject.files import check_hub
from neurogloss.subject.shape import Shape, read_shape


def check_inputs(config: RunConfig, env: Mapping[str, str] = os.environ) -> Shape | None:
    """Check the subject model and the environment variables with API keys.

    Returns:
        The shape of the subject model; None if the records are those of another run.

    Raises:
        InputError: The model or a key is missing, or the model does not fit the configuration.
    """
    shape = None if config.records.run is not None else check_model(config)
    _check_keys(config, env)
    return shape


def check_model(config: RunConfig) -> Shape:
    """Check that the subject model exists and fits the configuration; return its shape.

    Raises:
        InputError: The model is missing or does not fit.
    """
    model = config.located(config.subject.model)
    check_hub(model)
    shape = read_shape(model)
    check_fit(config, shape)
    check_weights(model, shape)
    return shape


def check_fit(config: RunConfig, shape: Shape) -> None:
    """Check that a configuration can be carried out on a model of a shape.

    Raises:
        InputError: It cannot.
    """
    if config.corpus.excerpt_tokens > shape.n_positions:
        raise InputError(
            f"corpus.excerpt_tokens = {config.corpus.excerpt_tokens} is more than the "
            f"{shape.n_positions} positions of subject.model = {config.subject.model!r}"
        )
    if config.ablation.is_wanted and not shape.has_tied_embeddings:
        raise InputError(
            f"subject.model = {config.subject.model!r} has an output matrix separate from its "
            "embeddings, which ablation does not support: remove [ablation]"
        )
    if config.neurons.layers != "all":
        absent = [layer for layer in config.neurons.layers if layer >= shape.n_layers]
        if absent or not config.neurons.layers:
            raise InputError(
                f"neurons.layers = {config.neurons.layers}: the model has layers 0 to "
                f"{shape.n_layers - 1}"
            )


def _check_keys(config: RunConfig, env: Mapping[str, str]) -> None:
    for role in config.calling:
        name = getattr(config, role).endpoint
        variable = config.endpoints[name].api_key_env
        if variable and not env.get(variable):
            raise InputError(f"{variable} is not set, which endpoints.{name}.api_key_env names")
