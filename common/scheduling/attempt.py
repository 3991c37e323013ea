"""One attempt at one run, in this process: whatever happens, the folder tells of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import provenance, status
from common.config import resolve
from common.errors import Interrupted, UserError
from common.experiment import Context
from common.registry import import_part
from common.run_config import RunConfig
from common.run_folder import RunFolder, read_json, write_json
from common.scheduling.task import Task

log = logging.getLogger(__name__)


def attempt(
    task: Task,
    *,
    stop_requested: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> None:
    """Makes the run, or what is left of it; the result is in its folder's ``status.json``.

    Raises:
        KeyboardInterrupt: a second Ctrl-C; the run is marked as interrupted.
    """
    folder = RunFolder(Path(task.folder))
    folder.path.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with _log_file(folder):
        try:
            state, values = _make(task, folder, stop_requested, progress)
        except Interrupted as stopped:
            state, values = status.INTERRUPTED, {"reason": str(stopped)}
        except KeyboardInterrupt:
            status.end(folder, status.INTERRUPTED, reason="stopped at once")
            raise
        except UserError as error:
            log.error("%s", error)
            state, values = status.FAILED, {"reason": str(error)}
        except Exception as error:
            log.exception("failed")
            state = status.FAILED
            values = {
                "reason": f"{type(error).__name__}: {error}",
                "traceback": status.end_of_traceback(error),
            }
        seconds = folder.read_status().get("seconds", 0.0) + time.monotonic() - started
        status.end(folder, state, seconds=round(seconds, 3), **values)


def _make(
    task: Task,
    folder: RunFolder,
    stop_requested: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> tuple[str, dict[str, Any]]:
    model = import_part(task.config_model)
    config, problems = resolve(model, task.config)
    assert isinstance(config, RunConfig), problems
    record = _provenance(task, folder, config)
    device = f"cuda:{','.join(map(str, config.gpu_ids))}" if task.device_ids else "cpu"
    status.begin(folder, task.fingerprint, device, record["threads"])
    write_json(folder.config, config.model_dump(mode="json"))
    _use_threads(record["threads"])
    context = Context(
        folder=folder,
        seed=record["seeds"]["random_seed"],
        gpu_ids=task.device_ids,
        stop_requested=stop_requested,
        progress=progress,
    )
    score = import_part(task.run)(config, context)
    return status.DONE, {"score": score}


def _provenance(task: Task, folder: RunFolder, config: RunConfig) -> dict[str, Any]:
    """What the first attempt recorded, since a run goes on with its own seed and threads."""
    from common.seeding import draw_seed

    record = read_json(folder.provenance)
    if record is None:
        seed = draw_seed() if config.random_seed is None else config.random_seed
        record = {
            "command": task.command,
            "seeds": {key: getattr(config, key) for key in config.seed_keys}
            | {"random_seed": seed},
            "threads": task.threads,
            **provenance.of_this_program(),
        }
        write_json(folder.provenance, record)
    return dict(record)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


@contextmanager
def _log_file(folder: RunFolder) -> Iterator[None]:
    """Inside the block, what is logged is also appended to the run's ``log.txt``."""
    handler = logging.FileHandler(folder.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
