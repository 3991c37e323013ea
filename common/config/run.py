"""Keys of every run, whatever its experiment."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Annotated, ClassVar

from pydantic import Field, Strict

from common.config.base import NO_EFFECT, Config, Seed
from common.config.distinct import Distinct
from common.config.tracker_settings import TrackerSettings
from common.errors import Problem

GpuId = Annotated[int, Field(ge=0)]
GpuIds = Annotated[tuple[GpuId, ...], Strict(False), Distinct()]


class RunConfig(Config):
    """Keys of every experiment."""

    seed_keys: ClassVar[tuple[str, ...]] = ("random_seed",)

    experiment_name: Annotated[str, NO_EFFECT] = "exp"
    """Name of the run, with which its folder begins; a template such as ``"{dataset}_lr_{lr}"``."""
    outputs_dir: Annotated[str, NO_EFFECT] = "outputs/exps"
    """Parent of the plan's folder."""
    random_seed: Seed = None
    """Root seed of Python, NumPy and torch; None (or -1) draws one and records it."""
    gpu_ids: Annotated[GpuIds, NO_EFFECT] = ()
    """GPU of the run, or as many as its plan's ``gpus_per_run``; empty for the CPU. Numbers count
    the GPUs in ``CUDA_VISIBLE_DEVICES``. A plan's ``gpu_ids_pool`` fills it in."""
    deterministic: Annotated[bool, NO_EFFECT] = False
    """If true, GPUs use deterministic algorithms alone, which are slower. Equal runs on equal GPUs
    with equal packages then agree bit for bit, also after a stop and a resume; an operation without
    such an algorithm is named and fails the run. Otherwise they agree up to rounding, which
    training magnifies. On a CPU equal runs agree bit for bit either way."""
    disable_console_log: Annotated[bool, NO_EFFECT] = False
    """If true, the console reports the run only if it fails; its ``log.txt`` is always written."""
    tags: Annotated[tuple[str, ...], Strict(False), NO_EFFECT] = ()
    """Tags of the run in Weights & Biases, if it is used."""
    save_logs: Annotated[bool, NO_EFFECT] = False
    """Accepted from published plans and ignored: ``log.txt`` is always written."""

    @property
    def tf32(self) -> bool:
        """True if GPUs may multiply float32 numbers as TensorFloat-32, with 10 bits of mantissa."""
        return False

    def tracker_settings(self) -> TrackerSettings:
        """Return where metrics go beside ``metrics.jsonl``: nowhere."""
        return TrackerSettings()

    def notices(self) -> Iterator[str]:
        """Yield the notices on the keys, including those on keys without effect."""
        yield from super().notices()
        ignored = list(self.ignored())
        if ignored:
            names = ", ".join(f"'{name}'" for name in ignored)
            yield f"without effect, and known for published files alone: {names}"

    def needs_preflight(self) -> bool:
        """True if the preflight check has anything to check of this run."""
        return True

    def why_alone(self) -> str | None:
        """Return why this run cannot be trained together with others; None if it can be."""
        return "its experiment makes runs one by one"

    def vectorize_key(self) -> Hashable:
        """Return the key that runs trained together share, unless `why_alone` forbids it."""
        return None

    def logs(self, metric: str) -> bool | None:
        """Return whether the run will log a metric of this name; None if its keys do not tell."""
        return None

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield changes to a run that does not fit into a GPU's memory, the best first.

        They are phrases with key and value, such as ``"lower 'batch_size' (64)"``.
        """
        yield from ()

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """Yield the reasons why several processes cannot share this run."""
        yield Problem(
            "runs of this experiment are made by one process; give 'gpus_per_run' in those "
            "configurations alone that train text models",
            "gpus_per_run",
            num_ranks,
        )
