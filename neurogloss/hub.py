"""Whether the hub of models and datasets can be reached, asked once.

The hub's own package, and that of datasets, try for half a minute where there is no network, and
print each attempt.
"""

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

ANSWER_S = 10.0


class HubUnreachable(Exception):
    """The hub does not answer; the message is the reason, without a full stop."""


def reach(repository: str, file: str, repo_type: str = "model") -> None:
    """Ask the hub for a file, which need not be there.

    Args:
        repository: Such as "gpt2" or "owner/texts".
        file: Its path there.
        repo_type: "model" or "dataset".

    Raises:
        HubUnreachable: There is no network, or the hub may not be asked.
    """
    try:
        get_hf_file_metadata(hf_hub_url(repository, file, repo_type=repo_type), timeout=ANSWER_S)
    except (HfHubHTTPError, HFValidationError):
        pass  # it answered, or has no such names: who reads the file says what is the matter
    except Exception as error:  # those of the network have no common base
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise HubUnreachable(lines[0].rstrip(".")) from error
