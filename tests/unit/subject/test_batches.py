"""An excerpt is in the same place of the same batch, whatever range of the corpus it is read in."""

import numpy as np
import pytest
import torch

from neurogloss.subject.batches import batch_size, batches, fitting_size, halve_batches

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def places(first, stop, size, *, padded):
    """Return the batch, its size and the place in it of each excerpt of a range."""
    tokens = np.arange(first, stop, dtype=np.int32)[:, None] + 1
    found = {}
    for batch in batches(tokens, first, size, padded=padded):
        rows = range(batch.rows.start, batch.rows.stop)
        for offset, row in enumerate(rows):
            excerpt = batch.first + offset
            assert batch.tokens[row, 0] == excerpt + 1
            found[excerpt] = (excerpt // size, len(batch.tokens), row)
        others = np.delete(batch.tokens, rows, axis=0)
        assert not others.any(), "padding is token 0"
    assert list(found) == list(range(first, stop))
    return found


@pytest.mark.parametrize(("first", "stop"), [(0, 1000), (0, 1), (96, 992), (512, 700), (999, 1000)])
def test_padded_batches_hold_an_excerpt_in_one_place(first, stop):
    whole = places(0, 1000, 512, padded=True)
    assert places(first, stop, 512, padded=True) == {n: whole[n] for n in range(first, stop)}


def test_batches_are_as_long_as_the_corpus_on_the_cpu():
    assert {size for _, size, _ in places(0, 40, 32, padded=False).values()} == {32, 8}


def test_what_belongs_to_a_batch_is_found_by_its_rows():
    lengths = np.arange(96, 700)
    parts = [
        batch.part_of(lengths)
        for batch in batches(np.zeros((604, 1), np.int32), 96, 512, padded=True)
    ]
    assert [len(part) for part in parts] == [416, 188]
    assert np.array_equal(np.concatenate(parts), lengths)


@pytest.mark.parametrize(
    ("device", "n_tokens", "size"),
    [(CPU, 64, 32), (CUDA, 64, 512), (CUDA, 100, 256), (CUDA, 1024, 32), (CUDA, 2, 512)],
)
def test_a_batch_has_as_many_excerpts_as_their_length_allows(device, n_tokens, size):
    assert batch_size(device, n_tokens) == size


class Model:
    pass


def test_batches_stay_small_once_memory_ran_out():
    model, other = Model(), Model()
    assert halve_batches(model, 512)
    assert fitting_size(model, 512) == 256
    assert fitting_size(other, 512) == 512
    while halve_batches(model, 512):
        pass
    assert fitting_size(model, 512) == fitting_size(model, 96) == 32
