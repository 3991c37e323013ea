"""The Ray cluster as this program uses it; no other module imports Ray."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from common.machine.devices import VISIBLE
from common.runner.scheduling.ray.needs import Needs, Node
from common.runner.scheduling.ray.on_node import Report, make

Ref = Any
"""Reference of Ray to the result of a task."""

_SECONDS_TO_ANSWER = 5.0
_AUTO = "auto"


class ClusterError(Exception):
    """Error of a cluster that cannot be used, with its message."""


@dataclass(frozen=True)
class End:
    """End of a task."""

    report: Report | None = None
    """Report of the task; None if it has ended without one."""
    lost: str = ""
    """Cause of an end without a report, for people."""


def connect(address: str) -> None:
    """Make this process a user of the cluster.

    Raises:
        ClusterError: there is no cluster at the address, or it cannot be used from here.
    """
    if ray.is_initialized():
        return
    if address == _AUTO:
        address = os.environ.get("RAY_ADDRESS", _AUTO)
    if address != _AUTO:
        _look_for(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except SystemExit:
        raise ClusterError(f"the Ray cluster at {address} does not answer") from None
    except ConnectionError:
        raise ClusterError("this machine belongs to no running Ray cluster") from None
    except Exception as error:  # another version, or not of this machine: Ray has no class for it
        raise ClusterError(" ".join(str(error).split())) from None
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own in the place of ours


def _look_for(address: str) -> None:
    """Check that something listens there: Ray itself would look for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ClusterError(f"'{address}' is no address such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        told = getattr(error, "strerror", None) or error
        raise ClusterError(f"there is no Ray cluster at {address} ({told})") from None


def nodes() -> list[Node]:
    """Return the nodes that are alive."""
    return [
        Node(node["NodeManagerAddress"], node["Resources"]) for node in ray.nodes() if node["Alive"]
    ]


def submit(line: str, needs: Needs, name: str) -> Ref:
    """Put tasks, a line of `common.runner.scheduling.task.to_line`, into the cluster's queue."""
    amounts = needs.amounts
    own = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
    options = {option: amounts.pop(resource, 0) for resource, option in own.items()}
    task = _TASK.options(**options, resources=amounts, name=name)
    return task.remote(line, str(Path.cwd()), _environment())


def _make_on_node(line: str, place: str, environment: Mapping[str, str]) -> Report:
    gpus = [str(gpu) for gpu in ray.get_gpu_ids()]
    return make(line, place, {**environment, VISIBLE: ",".join(gpus)})


_TASK = ray.remote(max_retries=0)(_make_on_node)  # attempts are the runner's


def _environment() -> dict[str, str]:
    """Return the variables of this process that runs get, as jobs in a SLURM queue do."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != VISIBLE and not name.startswith("RAY_")
    }


def wait(refs: Sequence[Ref], seconds: float, *, for_all: bool = False) -> list[Ref]:
    """Return the tasks that have ended; wait so long for one, or for all."""
    ended, _ = ray.wait(
        refs, num_returns=len(refs) if for_all else 1, timeout=seconds, fetch_local=False
    )
    if not for_all:
        ended, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
    return list(ended)


def end_of(ref: Ref) -> End:
    """Return how an ended task has ended."""
    try:
        return End(report=ray.get(ref))
    except ray.exceptions.TaskCancelledError:
        return End(lost="its Ray task was cancelled")
    except ray.exceptions.NodeDiedError:
        return End(lost="its node was lost")
    except ray.exceptions.WorkerCrashedError:
        return End(lost="its Ray worker died")
    except ray.exceptions.OutOfMemoryError:
        return End(lost="its Ray worker was ended, as its node was short of memory")
    except ray.exceptions.RayTaskError as error:
        return End(lost=f"its Ray task failed: {type(error.cause).__name__}: {error.cause}")
    except ray.exceptions.RayError as error:
        return End(lost=f"its Ray task failed: {type(error).__name__}")


def ask_to_stop(ref: Ref) -> None:
    """Take a task out of the queue; ask a running one to stop, and to stop at once if repeated."""
    ray.cancel(ref)


def kill(ref: Ref) -> None:
    """Kill the Ray worker that makes the task; what it has started ends by itself."""
    ray.cancel(ref, force=True)


def leave() -> None:
    """End the use of the cluster."""
    ray.shutdown()
