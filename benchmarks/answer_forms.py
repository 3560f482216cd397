"""Which form of JSON answer keeps a model aligned: positions that are right, and tokens.

    python benchmarks/answer_forms.py http://127.0.0.1:8080/v1 MODEL

The texts need no knowledge: their tokens are digits, and the explanation says that the activation
is the digit. A value that is not its digit is one that the model lost count of, or did not copy.
"""

import argparse

import numpy as np

from neurogloss.errors import RowError
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.single_calls import SingleCalls
from neurogloss.neurons.records import FloatArray
from neurogloss.neurons.simulators.answer_forms import FORMS, FormName
from neurogloss.neurons.simulators.kinds import SimulatorChoice, simulator_of

EXPLANATION = "digits, and the activation is the digit itself: 0 for 0, 1 for 1, up to 9 for 9"
TIMEOUT_S = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url")
    parser.add_argument("model")
    parser.add_argument("--texts", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=64, help="of each text")
    arguments = parser.parse_args()
    endpoint = Endpoint(name="here", base_url=arguments.base_url, timeout_s=TIMEOUT_S)
    random = np.random.default_rng(0)
    texts = random.integers(0, 10, (arguments.texts, arguments.tokens))
    print("| form | answers that can be read | positions aligned | completion tokens | seconds |")
    print("|---|--:|--:|--:|--:|")
    for form in FORMS:
        print(row(endpoint, arguments.model, form, texts), flush=True)


def row(endpoint: Endpoint, model: str, form: FormName, texts: np.ndarray) -> str:
    """Return the row of a form; tokens and seconds are means of a call."""
    simulator = simulator_of(SimulatorChoice("json"), 1, form)
    aligned, n_read = 0, 0
    with SingleCalls(endpoint, model) as calls:
        for digits in texts:
            try:
                found = calls.simulate(simulator, EXPLANATION, [f" {digit}" for digit in digits])
            except RowError as error:
                print(f"<!-- {form}: {error} -->")
            else:
                n_read += 1
                aligned += n_aligned(digits, found.expected)
        tokens = np.mean([answer.completion_tokens for answer in calls.answers])
        seconds = np.mean([answer.latency_ms for answer in calls.answers]) / 1000
    share = aligned / texts.size
    return f"| {form} | {n_read} of {len(texts)} | {share:.1%} | {tokens:.0f} | {seconds:.1f} |"


def n_aligned(digits: np.ndarray, values: FloatArray) -> int:
    return int((values == digits).sum())


if __name__ == "__main__":
    main()
