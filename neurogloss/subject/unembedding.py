"""The matrix by which a subject model reads logits from its last hidden state."""

from typing import Any

import torch
from transformers import GPT2LMHeadModel, GPT2Model

from neurogloss.errors import CannotCollect
from neurogloss.subject.checkpoint import HEAD
from neurogloss.subject.files import local_folder


def load_unembedding(model: str, subject: GPT2Model) -> torch.Tensor:
    """Return the unembedding, (vocabulary, d_model), on the subject's device and of its type.

    It is the token embedding itself where the two are tied. Otherwise the model is read again,
    since `load_subject` leaves its head out.

    Raises:
        CannotCollect: The model's embeddings are not tied, and its head cannot be read.
    """
    if subject.config.tie_word_embeddings:
        return subject.wte.weight
    try:
        loaded: Any = GPT2LMHeadModel.from_pretrained(
            str(local_folder(model) or model),
            dtype=subject.dtype,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # what may be wrong with a folder has no common class
        reason = f"{type(error).__name__}: {error}"
        raise CannotCollect(f"subject.model = {model!r} has no head to read: {reason}") from error
    whole, report = loaded
    if HEAD in report["missing_keys"]:
        raise CannotCollect(f"subject.model = {model!r}: its embeddings are not tied; no {HEAD}")
    head: torch.Tensor = whole.lm_head.weight.detach()
    return head.to(subject.device)
