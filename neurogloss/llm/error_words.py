"""The words by which servers tell what an error means, in lower case.

`tests/unit/llm/provider_answers.toml` has the answers that they come from.
"""

import re

FORMAT = "response_format"


def _words(*alternatives: str) -> re.Pattern[str]:
    """Return a pattern for text in lower case."""
    return re.compile("|".join(alternatives))


UNSUPPORTED = _words(
    "unsupported",
    "not support",
    r"n't support",
    "not allowed",
    "unrecognized",
    "unexpected",
    "not permitted",
    "unavailable",
    "not available",
    "unknown (?:name|field|parameter|argument)",
    "extra_forbidden",
    "literal_error",
    "use '?max_completion_tokens",
    "not enabled",
    "cannot both be",
)
OUT_OF_BOUNDS = _words(
    "must be (?:less|greater|at most|at least|between|strictly|positive|[<>])",
    "above[ _]max",
    "below[ _]min",
    "greater than (?:the )?max",
    "out of range",
    "valid range",
)
"""A parameter whose value is not taken."""
OF_FORMAT = _words(
    FORMAT,
    r"json[_ -]?(?:schema|object|mode)",
    r"structured[_ -]?outputs?",
    r"guided[_ -]?(?:json|decoding|grammar)",
    "grammar",
    r"response[_ ]?(?:schema|format|mime)",
    r"\bschemas?\b",
)
NO_CREDIT = _words(
    "insufficient[ _](?:quota|balance|credits?|funds)",
    "billing_(?:hard_limit|not_active|error)",
    "billing hard limit",
    r"credit[ _](?:balance|limit)",
    "balance is insufficient",
    r"(?:have any|used all available) credits",
    "credits? (?:are|is|have) (?:depleted|expired)",
    r"budget[ _](?:has been[ _])?exceeded",
    "exceeded ?budget|over budget",
    "api usage limits",
    "key limit exceeded",
    "arrearage",
    "past invoices",
    "free ?tier (?:of the model has been exhausted|only)",
    r"monthly (?:\w+ )?(?:limit|quota)",
    "credit_balance_exhausted",
    "(?:spend|usage)_limit_(?:reached|exceeded)",
    "enforced_spend_limit",
    "requires more credits",
    "out of credits?",
    "payment[ _]required",
    "account is not active",
    "exceeded_current_quota_error",
    r"(?:spend(?:ing)?|monthly usage) limit",
    "monthly included credits",
    "in arrears|overdue payment",
    # "Insufficient balance" and "in arrears".
    "余额不足|欠费",
)
QUOTA = _words("exceeded your current quota", "quota exceeded", "quota has been exceeded")
OF_RATE = _words(
    "rate[ _-]?limit",
    "too[ _]many[ _](?:requests|concurrent)",
    "resource[ _]?(?:has been )?exhausted",
    r"per[ _-]?(?:minute|second|hour|day)",
    "throttl",
    "capacity[ _]exceeded",
    "in_flight_budget_exhausted",
)
CONTEXT = _words(
    "context[ _]length",
    "exceed_context_size",
    "context[ _](?:size|window|limit)",
    "maximum context",
    "max_model_len",
    "(?:prompt|input) is too long",
    "prompt too long",
    "max_tokens must be at least 1, got -",
    "request too large",
    "request_too_large",
    "reduce the length of",
    "input token count.{0,40}exceeds",
    "too many (?:input )?tokens",
    "input is too large",
    "must have less than [0-9]+ tokens",
    r"tokens \+ `max_new_tokens` must be <=",
    "longer than the (?:maximum )?model length",
    "string_above_max_length",
)
LARGER_THAN_LIMIT = _words("request too large", "tokens must be reduced")
"""One question that is larger than a limit per minute, which waiting would not lift."""
FLAGGED = _words(
    "content[ _](?:filter|policy|management|moderation)",
    "contentpolicy",
    "responsibleaipolicy",
    "moderation",
    r"\bflagged\b",
    "data_inspection_failed",
    "inappropriate content",
    "content exists risk",
    "usage polic",
    "prohibited_content",
    "safety[ _](?:system|filter|settings?|reasons?)",
    "invalid_prompt",
    r"violat\w+.{0,60}(?:polic|guideline|terms|safety)",
    "(?:harmful|disallowed|unsafe|sensitive) (?:content|input|prompt)",
    # "Sensitive content".
    "敏感内容",
    "sensitive[_ ]words",
)
CLOSED = _words(
    r"(?:account|organi[sz]ation|project|key)\b.{0,40}\b"
    "(?:deactivated|suspended|disabled|banned|terminated|restricted|blocked|flagged)"
)
BAD_KEY = _words(
    r"(?:invalid|incorrect|wrong|missing|expired|no)[ _]api[ _-]?key",
    r"api[ _-]?key[ _](?:not valid|invalid|expired|not found|is invalid)",
    "authentication_error",
    "authentication fail",
    "unauthenticated",
    "invalid_authentication",
    "user not found",
    "no auth credentials",
    r"(?:country|region|territory|location)\b.{0,20}\bnot (?:supported|available|allowed)",
    r"not (?:supported|available|allowed) (?:in|for) your (?:country|region|territory|location)",
)
"""The key, or the place that it is used from, is not accepted."""
NO_MODEL = _words(
    r"model[ _](?:is[ _])?not[ _](?:found|exist|available)",
    r"model\b.{0,120}\b(?:does not exist|not found|is not available|not exist)",
    "non-serverless model",
    "dedicated_endpoint_not_running",
    "not a valid model",
    "invalid[ _]model",
    "unknown[ _]model",
    "deploymentnotfound",
    "decommissioned|has been (?:deprecated|retired|shut down)",
    r"(?:access|enable) (?:to )?(?:the |this )?model\b",
    "model_access_denied",
    "(?:access to model|model access) denied",
    "requires terms acceptance",
    "does not work with the specified model",
    "does not support (?:chat|completions|generate)",
    "on-demand throughput isn",
    "failed to load model",
    "no models loaded",
    "unexpected endpoint or method",
)
PLAIN_HTTP = _words(
    "plain http request was sent to https port",
    "http request to an https server",
)
OVERLOAD = _words(
    "overload",
    "slow_down",
    "server busy",
    "too busy",
    "at capacity",
    "queue is full",
    "no slots? available",
)
LOADING = _words(
    "loading (?:the )?model",
    r"model\b.{0,120}\bis (?:currently |still )?(?:loading|cold|starting|not ready)",
    "still loading",
    "warming up",
    "starting up",
    "model (?:has crashed|(?:was |has been )?unloaded)",
)
NO_JSON_MADE = _words("json_validate_failed")
