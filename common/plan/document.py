"""Keys of a plan file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, Strict, WithJsonSchema

from common.config.base import Config, SeedNumber
from common.config.distinct import Distinct
from common.config.executors import ExecutorKeys, LocalKeys, Resources
from common.config.run import GpuId


def _figure(entry: Any) -> Any:
    name = entry.get("figure") if isinstance(entry, dict) else entry
    if not isinstance(name, str):
        raise ValueError("expected a name, or an object {'figure': name, option: value}")
    return entry


_FIGURE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"figure": {"type": "string"}},
            "required": ["figure"],
        },
    ]
}
Figure = Annotated[Any, AfterValidator(_figure), WithJsonSchema(_FIGURE_SCHEMA)]
OptionValues = Annotated[tuple[Any, ...], Strict(False), Field(min_length=1), Distinct()]
GpusPerRun = Annotated[int, Field(gt=0)]
Minutes = Annotated[float, Field(gt=0)]
ExperimentName = Annotated[str, Field(min_length=1)]
Id = Annotated[str, Field(pattern=r"^[\w-]+$")]
Seeds = Annotated[tuple[SeedNumber, ...], Strict(False), Field(min_length=1), Distinct()]
GpuPool = Annotated[
    tuple[GpuId, ...], Strict(False), Distinct(", and let runs share GPUs by 'runs_per_gpu'")
]


_MOST_AT_A_TIME = 10_000
"""Largest number of runs at a time, each of which has an entry in the runner's tables."""
_MOST_THREADS = 1024
"""Largest number of threads of a process: OpenMP ends a program that asks for far too many."""


class Configuration(Config):
    """A set of runs: the product of ``options`` and ``seeds`` over ``base_config``."""

    id: Id | None = None
    """Id of this stage, for references ``"@<id>.<file>"`` of later ones."""
    extends: Id | None = None
    """Id of the configuration whose experiment, seeds, ``gpus_per_run``, ``resources``,
    ``timeout_minutes``, ``base_config`` and ``options`` this one inherits. Its own keys take
    precedence: objects in ``base_config`` are merged, and everything else is replaced. An inherited
    option is dropped from the product if this configuration gives its key, an object that holds it,
    or a key in its objects. Inherited keys that the runs here do not know, such as settings of
    another algorithm, are dropped. References such as ``"@sft.model"`` keep their meaning. ``set``
    and ``--set`` for the other ``id`` alone (``"first.lr"``) do not apply to the runs here."""
    experiment: ExperimentName | None = None
    """Experiment of the runs; by default the plan's."""
    seeds: Seeds | None = None
    """Seeds of the runs: one run per seed s, with every seed key of the experiment set to s."""
    gpus_per_run: GpusPerRun | None = None
    """Number of processes that share each run; by default the plan's."""
    resources: Resources | None = None
    """Resources of each run on a cluster; by default the plan's."""
    timeout_minutes: Minutes | None = None
    """Time limit of each attempt at a run; by default the plan's."""
    base_config: dict[str, Any] = Field(default_factory=dict)
    """Keys that all runs share; ``"from"`` names a file whose keys come first."""
    options: dict[str, OptionValues] = Field(default_factory=dict)
    """Lists of values by key; the runs are their product, and the last key varies fastest."""


class PlanDocument(Config):
    """A plan file: runs, their scheduling, and figures."""

    schema_: str | None = Field(default=None, alias="$schema")
    """Path of the JSON Schema, for editors."""
    name: str = ""
    """Name of the plan, for people; its folder is named after its file."""
    description: str = ""
    """Purpose of the plan."""
    experiment: ExperimentName = "sft_vs_rft"
    """Experiment of the runs, if a configuration names none."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Number of leading runs (of the whole product, repetitions not counted) to skip."""
    repetitions: Annotated[int, Field(gt=0)] = 1
    """Number of repetitions of each run; repetition k adds k to ``random_seed``."""
    largest: bool = True
    """If true, a larger score is better; if it is not given, the runs' ``score_largest``
    decides."""
    multiprocess: bool = False
    """If true, runs on the CPU get worker processes of their own, as runs on GPUs always do."""
    num_parallel: Annotated[int, Field(gt=0, le=_MOST_AT_A_TIME)] = 1
    """Number of runs that are made at the same time, with ``multiprocess``. If it is not given, the
    GPUs of ``gpu_ids_pool`` get ``runs_per_gpu`` runs each."""
    num_threads: Annotated[int, Field(gt=0, le=_MOST_THREADS)] | None = None
    """Number of threads of each process; None for ``OMP_NUM_THREADS``, or without it for an equal
    share of the cores. A resumed run keeps the number of its first attempt."""
    vectorize: bool = False
    """If true, runs that differ only in numbers and seeds are trained together, as one batched
    model in one worker. Each keeps its own folder; results are equal within float tolerance."""
    executor: ExecutorKeys = LocalKeys()
    """Executor of the runs: ``local`` for this machine, ``slurm`` or ``ray`` for a cluster, or an
    object ``{"id": ..., key: value}``."""
    resources: Resources = Resources()
    """Resources of each run on a cluster."""
    max_attempts: Annotated[int, Field(gt=0)] = 2
    """Number of attempts at a run that are lost, by the death of its process or by
    ``timeout_minutes``, before it counts as failed. Stops that were asked for do not count."""
    timeout_minutes: Minutes | None = None
    """Time limit of each attempt at a run in minutes, after which its processes are ended; None
    for no limit. The next attempt resumes from the last checkpoint."""
    runs_per_gpu: Annotated[int, Field(gt=0, le=_MOST_AT_A_TIME)] = 1
    """Number of runs at a time on each GPU of ``gpu_ids_pool``, or on each group of
    ``gpus_per_run``."""
    gpu_ids_pool: GpuPool = ()
    """GPUs to share among the workers; empty for the CPU."""
    gpus_per_run: GpusPerRun = 1
    """Number of processes that share each run, with equal results: one for each of its GPUs, or on
    the CPU. It is for text runs that train; a worker gets as many GPUs of ``gpu_ids_pool``."""
    seeds: Seeds | None = None
    """Seeds of every configuration that has none of its own."""
    figures: Annotated[tuple[Figure, ...], Strict(False), Distinct()] = ()
    """Figures that are drawn when the plan ends: names, or objects ``{"figure": name, option:
    value}``."""
    report: bool = True
    """If true, ``report.html`` is written into the plan's folder when the plan ends: a page about
    its runs."""
    base_config: dict[str, Any] = Field(default_factory=dict)
    """Keys under ``base_config`` of every configuration that knows them. The configuration's own
    keys take precedence, and objects are merged. A configuration's experiment, and the parts that a
    run names, determine the keys that it knows: if ``alg.id`` is ``trpo``, the keys in ``alg.args``
    that TRPO lacks are dropped. A key that no configuration knows is refused. Dotted paths and
    ``"from"`` work as in a configuration."""
    set_: dict[str, Any] = Field(default_factory=dict, alias="set")
    """Overrides by (dotted) key, which replace values in ``base_config`` and ``options`` of every
    configuration that knows the key, or of the one whose ``id`` is the key's first part
    (``"sft.lr"``); the command line's ``--set`` adds to them."""
    configurations: Annotated[tuple[dict[str, Any], ...], Strict(False), Field(min_length=1)]
    """Configurations: the sets of runs."""

    def figure_requests(self) -> list[tuple[str, dict[str, Any]]]:
        """Return name and options of each figure."""
        entries = [
            entry if isinstance(entry, dict) else {"figure": entry} for entry in self.figures
        ]
        return [
            (entry["figure"], {key: value for key, value in entry.items() if key != "figure"})
            for entry in entries
        ]
