"""How a command ends: an exit status, and one line where nothing came of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from benchmark.config.compose import explain
from benchmark.engine import distributed
from benchmark.errors import IncompatibleError, InputError, LeaseHeldError, NewerSchemaError, RunFailedError


def status_of(work: Callable[[], Any], arguments: list[str]) -> int:
    """Do something; tell in one line why it could not be done, and give the exit status."""
    try:
        work()
    except (InputError, IncompatibleError, LeaseHeldError, NewerSchemaError) as error:
        tell(f"refused: {error}")
        return 2
    except (HydraException, OmegaConfBaseException) as error:
        tell(f"refused: {explain(error, arguments)}")
        return 2
    except RunFailedError as error:
        tell(f"failed: {error}")
        return 1
    except OSError as error:  # a full disk, a mount that went away: earlier records are whole
        where = f" ({error.filename})" if error.filename else ""
        tell(f"failed: {error.strerror or error}{where}: nothing is recorded of this run")
        return 1
    except KeyboardInterrupt:
        print("stopped; what was running here is not recorded", file=sys.stderr)
        raise SystemExit(130) from None
    return 0


def tell(line: str) -> None:
    """Say on standard error why nothing came of it, once for all processes of a run."""
    if distributed.speaks():
        print(line, file=sys.stderr)
