r"""Few-shot examples, shown before the neuron in question. Their text is part of call identity.

Each is a made-up neuron with its explanation and two records of (token, activation from 0 to 10).
The texts look like those that are asked about: some 60 tokens, in the pieces of GPT-2's tokenizer,
with the space before a word, words in several pieces, line breaks, and code.
"""

from typing import NamedTuple

TokenActivations = tuple[tuple[str, int], ...]


class FewShotExample(NamedTuple):
    explanation: str
    records: tuple[TokenActivations, ...]


class TokensExample(NamedTuple):
    """Tokens on which a made-up neuron is active in any context, the strongest first."""

    explanation: str
    tokens: tuple[str, ...]


def _record(text: str) -> TokenActivations:
    """Return the tokens of a text in which `|` divides them, and `^` stands before activations."""
    pairs = (piece.partition("^") for piece in text.split("|"))
    return tuple((token, int(activation or 0)) for token, _, activation in pairs)


def on_scale(record: TokenActivations, highest: int) -> TokenActivations:
    """Return a record whose activations are from 0 to another highest number."""
    return tuple((token, round(activation * highest / 10)) for token, activation in record)


EXAMPLES = (
    FewShotExample(
        "temperatures and heat levels in cooking instructions",
        (
            _record(
                "For| a| simple| lemon| cake|,| beat| three| eggs| with| the| sugar| until| they|"
                " are| pale|.|\n|Pre|heat^5| the| oven| to^2| 180^8| degrees^10| Celsius^9| and|"
                " fold| the| flour| into| the| bowl|.| Bake| for| forty| minutes|;| if| the| crust|"
                " brown|s| too| soon|,| turn| the| heat^7| down^4| to^1| 160^8| and| cover| it|"
                " with| foil|.| Let| it| cool| on| a| rack|."
            ),
            _record(
                "M|elt| the| butter| over| medium^6| heat^8| while| you| chop| the| onions|,| then|"
                " add| both| to| the| pan| and| stir| for| ten| minutes|.| Pour| in| the| stock|"
                " and| bring| it| to| a| boil^5|.| Lower^3| the| flame^6| to| a| gentle^2|"
                " simmer^7|,| put| the| lid| on| and| leave| the| rice| alone| for| a| quarter|"
                " of| an|"
                " hour|.| Serve| it| warm^3|."
            ),
        ),
    ),
    FewShotExample(
        "words that forbid something in contracts and rules",
        (
            _record(
                "Under| this| lease|,| the| tenant| shall^2| not^9| sub|let^3| the| rooms|,| and|"
                " no^7| alterations| are| permitted^5| without| the| written| consent| of| the|"
                " landlord|.|\n|R|ent| is| due| on| the| first| day| of| each| month|.| Pets|"
                " may^1| not^8| be| kept| in| the| building|,| except| for| fish|.| The|"
                " landlord| will| inspect| the| rooms| once| a| year|."
            ),
            _record(
                "The| museum| is| open| every| day| except| Monday|,| from| ten| until| six| o|'|"
                "clock|.| Visitors| under| twelve| pay| half|.| Photography| is| prohibited^10| in|"
                " the| east| wing|,| where| the| paintings| are| sensitive| to| light|,| and|"
                " smoking| is| banned^9| throughout| the| building|.| Large| bags| must| be| left|"
                " at| the| entrance|.| Please| do^1| not^7| touch| the| statues|."
            ),
        ),
    ),
    FewShotExample(
        "the places where a program handles or reports an error",
        (
            _record(
                "import| json|\n|\n|def| read|_|settings|(|path|):|\n| | try^6|:|\n| | | | return|"
                " json|.|load|(|open|(|path|))|\n| | except^9| Value|Error^8|:|\n| | | | log|.|"
                'warning^3|("|bad^2| settings| in| "| +| path|)|\n| | except^9| File|Not|Found|'
                "Error^8|:|\n| | | | raise^10|\n"
            ),
            _record(
                "The| job| starts| at| midnight| and| copies| the| tables| one| after| another|.|"
                " If| the| connection| drops|,| the| script| ret|ries^4| twice| and| then| stops|"
                " with^1| a| timeout^7| exception^10|,| which| the| caller| catches^8| and| writes|"
                " to| the| log|.|\n|Nothing| else| happens| until| someone| reads| it| in| the|"
                " morning|.| A| missing| table| is| no| failure^6|:| it| is| made| anew|."
            ),
        ),
    ),
)

TOKENS_EXAMPLES = (
    TokensExample(
        "words for members of a family",
        (" mother", " father", " sister", " brother", "Mother", " aunt", " uncle", " cousin",
         " grandmother", " daughter", " son", " niece", " nephew", "father", " siblings", " Dad",
         " widow", " twins", " grandson", " parents"),
    ),
    TokensExample(
        "the ends of words that say how something is done",
        ("ously", "ingly", "edly", "fully", "ively", "ibly", "antly", "ently", "istically",
         "lessly", "arily", "ially", "ly", "wise", "ably", "ically",
         "ily", "uously", "ately", "ishly"),
    ),
    TokensExample(
        "numbers that may be years of the twentieth century",
        (" 1943", " 1968", "1977", " 1914", " 1989", " 1939", " 1950", " 1925", "1999", " 1936",
         " 1901", " 1962", "1984", " 1919", " 1971", " 1953", "1945", " 1906", " 1998", " 1927"),
    ),
)  # fmt: skip
