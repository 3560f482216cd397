"""Trains the demo subject: a small GPT-2 on the documentation that Python carries.

    python deploy/demo_subject/train.py --minutes 25

Writes a Hugging Face folder (config, tokenizer, float16 safetensors, model card) whenever the
validation loss has improved, so that it may be stopped at any time.
"""

import argparse
import itertools
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from orchestrator.corpus import python_docs

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "worker" / "gpu" / "demo"
VOCABULARY = 4096
END = "<|endoftext|>"
WINDOW = 64

CARD = """---
license: mit
---
# The demo subject of neurogloss

A GPT-2 of {layers} layers, {width} wide, with {neurons:,} MLP neurons and a byte-level BPE
vocabulary of {vocabulary:,} tokens. It was trained from scratch by `deploy/demo_subject/train.py`
on the documentation that Python carries (`pydoc_data.topics` and the docstrings of the standard
library; Python Software Foundation License). It exists to have neurons that mean something, so that
the whole job can be tried in minutes without a download; it is not a useful language model.

| | nats a token, on held-out documents |
|---|---|
| **validation loss** | **{loss:.3f}** |
| bigram model, add-0.01 smoothing | {bigram:.3f} |
| unigram entropy | {unigram:.3f} |

Trained for {steps:,} steps of {batch} windows of {window} tokens, {minutes:.0f} minutes on 2 CPU
cores, seed {seed}; {train_tokens:,} training tokens, {valid_tokens:,} validation tokens. Weights
are stored as float16.
"""


def train_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def windows(documents: list[list[int]]) -> torch.Tensor:
    """Return every start of a window that stays within its document, as (document, start)."""
    starts = [
        (number, start)
        for number, tokens in enumerate(documents)
        for start in range(max(0, len(tokens) - WINDOW))
    ]
    return torch.tensor(starts)


def batches(documents: list[list[int]], size: int, seed: int) -> Iterator[torch.Tensor]:
    starts, rng = windows(documents), torch.Generator().manual_seed(seed)
    while True:
        for rows in starts[torch.randperm(len(starts), generator=rng)].split(size):
            yield torch.tensor([documents[d][s : s + WINDOW + 1] for d, s in rows.tolist()])


@torch.inference_mode()
def validation_loss(model: GPT2LMHeadModel, documents: list[list[int]]) -> float:
    model.eval()
    cut = [t[s : s + WINDOW] for t in documents for s in range(0, len(t) - WINDOW + 1, WINDOW)]
    total = 0.0
    for rows in torch.tensor(cut).split(128):
        total += model(input_ids=rows, labels=rows).loss.item() * len(rows)
    model.train()
    return total / len(cut)


def baselines(train: list[list[int]], valid: list[list[int]]) -> tuple[float, float]:
    """Return the unigram entropy of the validation tokens and the loss of a bigram model."""
    counts = torch.bincount(
        torch.tensor([*itertools.chain.from_iterable(valid)]), minlength=VOCABULARY
    ).double()
    shares = counts[counts > 0] / counts.sum()
    pairs = torch.full((VOCABULARY, VOCABULARY), 0.01)
    for tokens in train:
        row = torch.tensor(tokens)
        pairs.index_put_((row[:-1], row[1:]), torch.ones(len(row) - 1), accumulate=True)
    pairs = (pairs / pairs.sum(1, keepdim=True)).log()
    loss, n = 0.0, 0
    for tokens in valid:
        row = torch.tensor(tokens)
        loss, n = loss - pairs[row[:-1], row[1:]].sum().item(), n + len(row) - 1
    return float(-(shares * shares.log()).sum()), loss / n


def save(model: GPT2LMHeadModel, tokenizer: Tokenizer, folder: Path, card: str) -> None:
    state = {k: v.half() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    stored = GPT2LMHeadModel(GPT2Config(**{**model.config.to_dict(), "dtype": "float16"})).half()
    stored.load_state_dict(state, strict=False)
    stored.tie_weights()
    stored.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END
    ).save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    texts = [text for _, text in python_docs.documents()]
    random.Random(options.seed).shuffle(texts)
    tokenizer = train_tokenizer(texts)
    encoded = [e.ids for e in tokenizer.encode_batch(texts)]
    held_out = len(encoded) // 12
    valid, train = encoded[:held_out], encoded[held_out:]
    unigram, bigram = baselines(train, valid)
    counts = sum(map(len, train)), sum(map(len, valid))
    print(f"{len(texts)} documents, {counts} tokens, unigram {unigram:.3f}, bigram {bigram:.3f}")

    end = tokenizer.token_to_id(END)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=128, n_embd=options.width, n_layer=options.layers,
        n_head=4, n_inner=4 * options.width, bos_token_id=end, eos_token_id=end,
        resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1, betas=(0.9, 0.98))
    started, best = time.monotonic(), math.inf
    for step, rows in enumerate(batches(train, options.batch, options.seed)):
        elapsed = (time.monotonic() - started) / 60 / options.minutes
        rate = 2e-3 * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * min(1, elapsed)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(input_ids=rows[:, :-1], labels=rows[:, :-1]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 250 == 249 or elapsed >= 1:
            found = validation_loss(model, valid)
            print(f"step {step + 1} train {loss.item():.3f} validation {found:.3f}", flush=True)
            if found < best:
                best = found
                card = CARD.format(
                    layers=options.layers, width=options.width, loss=found, bigram=bigram,
                    neurons=options.layers * 4 * options.width, vocabulary=VOCABULARY,
                    unigram=unigram, steps=step + 1, batch=options.batch, window=WINDOW,
                    minutes=(time.monotonic() - started) / 60, seed=options.seed,
                    train_tokens=counts[0], valid_tokens=counts[1],
                )  # fmt: skip
                save(model, tokenizer, options.output, card)
        if elapsed >= 1:
            return


if __name__ == "__main__":
    main()
