"""Whether the Hugging Face hub can be asked: its clients retry for half a minute before they say that it cannot."""

from __future__ import annotations

import functools
import re
import ssl
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PATIENCE = 5.0  # seconds for names, connection and answer together


def pinned(revision: str | None) -> bool:
    """Say whether a revision always names the same content: a commit does, a branch or a tag may move."""
    return bool(revision and re.fullmatch("[0-9a-f]{40}", revision))


@functools.cache
def offline() -> bool:
    """Say whether there is no hub to ask, by choice (HF_HUB_OFFLINE) or for want of a network; asked once."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    answers: list[bool] = []
    # A resolver or a firewall that swallows packets keeps a call far beyond its own timeout: hence the thread.
    asking = threading.Thread(target=lambda: answers.append(_answers(constants.ENDPOINT)), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return not any(answers)


def _answers(url: str) -> bool:
    try:
        urlopen(Request(url, method="HEAD"), timeout=PATIENCE).close()
    except HTTPError:  # it answers, if not as one would like
        return True
    except OSError as error:  # without the system's certificates it is still there
        return isinstance(getattr(error, "reason", error), ssl.SSLError)
    return True
