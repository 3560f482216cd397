"""Made-up log probabilities of the tokens of a text, in the form of completions.

Where a number is expected, the alternatives are the numbers from 0 to 10; elsewhere they are words.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal.activations import activations
from rehearsal.answers import ACTIVATION_LEVELS
from rehearsal.chat_logprobs import levels_around
from rehearsal.seeded_random import draw, uniform
from rehearsal.tokenizer import UNKNOWN, Piece

START_LINE = "<start>"
_WORDS = (" the", ",", " of", " a", "\n", ".", " and", " to", "\t", " in", "0", " is", "-", " it",
          " that", " for", "s", " was", " on", ":", " with", " as", "1", " he")  # fmt: skip
_UNLIKELY = -12.5  # log probability of a token that is not among the alternatives
_MAX_TOKEN_ID = 2**31


@dataclass(frozen=True, slots=True)
class ScoredPiece:
    """A token with its log probability, and the alternatives to it, the likeliest first."""

    piece: Piece
    logprob: float
    ranked: Sequence[tuple[str, float]]
    expects_number: bool = False

    def top(self, count: int) -> dict[str, float]:
        """Return the likeliest `count` alternatives, and the token itself whatever its rank."""
        return {**dict(self.ranked[:count]), self.piece.shown: self.logprob}

    def vllm_top(self, count: int) -> dict[str, dict[str, Any]]:
        """Return the same in vLLM's form: by token id, the token itself first, ranks from 1.

        A part of a character has no text of its own, which vLLM shows as U+FFFD.
        """
        ranks = {token: rank for rank, (token, _) in enumerate(self.ranked, 1)}
        listed = {self.piece.shown: self.logprob, **dict(self.ranked[:count])}
        return {
            str(draw(0, "token id", token) % _MAX_TOKEN_ID): {
                "logprob": logprob,
                "rank": ranks.get(token, 1000),
                "decoded_token": "\N{REPLACEMENT CHARACTER}"
                if token.startswith("bytes:\\x")
                else token,
            }
            for token, logprob in listed.items()
        }


def score_pieces(
    pieces: Sequence[Piece], numbers: Mapping[int, int], seed: int, digest: bytes
) -> list[ScoredPiece]:
    """Return the tokens with their alternatives.

    Args:
        pieces: The tokens of a text.
        numbers: The expected number at each place in `pieces` where one is expected.
        seed: The server's seed.
        digest: SHA-256 of the prompt.
    """
    return [
        _number(piece, numbers[place], uniform(seed, "number", digest, place))
        if place in numbers
        else _word(piece, uniform(seed, "word", digest, place))
        for place, piece in enumerate(pieces)
    ]


def expected_numbers(pieces: Sequence[Piece], seed: int) -> dict[int, int]:
    r"""Return the activation of each line "token\tunknown", by the place of its `unknown`.

    The lines from one `<start>` to the next are a record, whose activations are never all the same.
    """
    numbers: dict[int, int] = {}
    for record in _records(pieces):
        values = activations(seed, list(record.values()), ACTIVATION_LEVELS)
        numbers.update(zip(record, values, strict=True))
    return numbers


def _records(pieces: Sequence[Piece]) -> Iterator[dict[int, str]]:
    """Yield the tokens of each record, by the place of the `unknown` in their line."""
    record: dict[int, str] = {}
    line = ""
    for place, piece in enumerate(pieces):
        following = pieces[place + 1].content if place + 1 < len(pieces) else "\n"
        if piece.content == UNKNOWN and line.endswith("\t") and following.startswith("\n"):
            record[place] = line[:-1]
        before, *rest = piece.content.split("\n")
        if rest and line + before == START_LINE:
            yield record
            record = {}
        line = rest[-1] if rest else line + before
    yield record


def _number(piece: Piece, expected: int, point: float) -> ScoredPiece:
    """Return a token where a number is expected; `point`, in [0, 1), is its random number."""
    # As with real models, some probability goes to tokens that are no numbers. A client has to
    # leave them out and divide by the rest.
    covered = 0.9 + 0.1 * point
    levels = levels_around(expected, point)
    ranked = [(text, round(logprob + math.log(covered), 6)) for text, logprob in levels]
    others = (f" {expected}", "\n", " ", "\t", "?")
    ranked += [(o, round(math.log((1 - covered) / 2 ** (i + 1)), 6)) for i, o in enumerate(others)]
    ranked.sort(key=lambda pair: -pair[1])
    return ScoredPiece(piece, dict(ranked).get(piece.shown, _UNLIKELY), ranked, True)


def _word(piece: Piece, point: float) -> ScoredPiece:
    """Return a token where none in particular is expected; `point` is as in `_number`."""
    probability = 0.02 + 0.97 * point
    rest = 1 - probability
    first = int(point * len(_WORDS))
    words = [word for word in (*_WORDS[first:], *_WORDS[:first]) if word != piece.shown]
    logprob = round(math.log(probability), 6)
    ranked = [(piece.shown, logprob)]
    ranked += [(w, round(math.log(rest * 0.3 * 0.7**i), 6)) for i, w in enumerate(words)]
    ranked.sort(key=lambda pair: -pair[1])
    return ScoredPiece(piece, logprob, ranked)
