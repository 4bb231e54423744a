"""Quick test of whether the Hugging Face hub answers."""

from __future__ import annotations

import functools
import re
import ssl
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PATIENCE = 5.0  # seconds for name resolution, connection and answer together


def is_pinned(revision: str | None) -> bool:
    """Say whether a revision is a commit; a branch or tag may change its content."""
    return bool(revision and re.fullmatch("[0-9a-f]{40}", revision))


@functools.cache
def is_offline() -> bool:
    """Say whether the hub is unavailable, by HF_HUB_OFFLINE or the network."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    answers: list[bool] = []
    # A resolver or firewall that drops packets delays a call far beyond its timeout, hence the thread.
    thread = threading.Thread(target=lambda: answers.append(_answers(constants.ENDPOINT)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not any(answers)


def _answers(url: str) -> bool:
    try:
        urlopen(Request(url, method="HEAD"), timeout=PATIENCE).close()
    except HTTPError:  # an answer, even if an error
        return True
    except OSError as error:  # a certificate error comes from a server that is there
        return isinstance(getattr(error, "reason", error), ssl.SSLError)
    return True
