"""Exit status of a command, and one line for an error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from benchmark.config.with_hydra import explain
from benchmark.engine import distributed
from benchmark.errors import IncompatibleError, InputError, LeaseHeldError, NewerSchemaError, RunFailedError


@contextmanager
def exit_status(overrides: Sequence[str], statuses: list[int]) -> Iterator[None]:
    """Print an error in the block as one line, and add an exit status."""
    try:
        yield
    except (InputError, IncompatibleError, LeaseHeldError, NewerSchemaError) as error:
        statuses.append(complain(2, f"refused: {error}"))
    except (HydraException, OmegaConfBaseException) as error:
        statuses.append(complain(2, f"refused: {explain(error, overrides)}"))
    except RunFailedError as error:
        statuses.append(complain(1, f"failed: {error}"))
    except OSError as error:  # a full disk, a lost mount: earlier records are complete
        file = f" ({error.filename})" if error.filename else ""
        statuses.append(complain(1, f"failed: {error.strerror or error}{file}: nothing is recorded of this run"))
    except KeyboardInterrupt:
        print("stopped; what was running here is not recorded", file=sys.stderr)
        raise SystemExit(130) from None


def complain(status: int, line: str) -> int:
    """Print the reason once for all processes of a run; return the status."""
    if distributed.is_first():
        print(line, file=sys.stderr)
    return status
