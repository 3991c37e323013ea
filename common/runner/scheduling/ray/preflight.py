"""Checks of a Ray executor before anything is submitted or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from common.config.executors import RayKeys
from common.errors import Problem
from common.packages import lacking
from common.plan.resources import gpus_needed
from common.plan.run import Plan, Run
from common.process.threads import threads_on_cluster
from common.runner.scheduling.ray.needs import OWN_NAMES, Needs, Node, nodes_told


def problems_of_ray(plan: Plan, runs: Iterable[Run]) -> list[Problem]:
    """Return the problems of a plan whose runs are tasks of a Ray cluster.

    If there are none, this process uses the cluster from now on.
    """
    keys = plan.document.executor
    if not isinstance(keys, RayKeys):
        return []
    first: dict[Needs, Run] = {}
    for run in runs:
        first.setdefault(_needs(plan, run), run)
    wrong = [problem for needs, run in first.items() for problem in _wrong(needs, run)]
    lacks = list(lacking("ray", "executor", "ray"))
    if lacks:
        return [*lacks, *wrong]
    from common.runner.scheduling.ray import cluster

    try:
        cluster.connect(keys.address)
    except cluster.ClusterError as error:
        how = "start one, as docs/ray.md shows, or use --executor local"
        return [Problem(f"{error}; {how}", "executor.address", keys.address), *wrong]
    return wrong or list(_refusals(first, cluster.nodes()))


def _needs(plan: Plan, run: Run) -> Needs:
    threads = threads_on_cluster(plan.document.num_threads, run.resources.cpus, run.num_ranks)
    gpus = gpus_needed(run, plan.document.gpu_ids_pool)
    return Needs.of(run.resources.model_dump(), threads=threads, ranks=run.num_ranks, gpus=gpus)


def _wrong(needs: Needs, run: Run) -> Iterator[Problem]:
    """Yield the problems of needs that no cluster could meet."""
    each = needs.gpus / run.num_ranks
    if needs.gpus > 1 and not needs.gpus.is_integer():
        yield Problem("Ray gives a share of one GPU, or whole ones; use a whole number, or less "
                      "than 1", "resources.gpus", each, run.where)  # fmt: skip
    elif run.num_ranks > 1 and 0 < each < 1:
        yield Problem("processes of one run cannot share a GPU; use 1, or 'gpus_per_run' = 1",
                      "resources.gpus", each, run.where)  # fmt: skip
    for name, amount in needs.custom:
        if name in OWN_NAMES:
            yield Problem("is no custom resource; use 'cpus', 'gpus' or 'memory_gb' of "
                          "'resources'", f"resources.custom.{name}", amount, run.where)  # fmt: skip


def _refusals(first: Mapping[Needs, Run], nodes: Sequence[Node]) -> Iterator[Problem]:
    """Yield what no node can meet, once for equal needs."""
    for needs, run in first.items():
        if not any(needs.fit(node.totals) for node in nodes):
            yield Problem(
                f"no node of the Ray cluster can make a run that needs {needs}; the nodes have in "
                f"all: {nodes_told(nodes)}", "resources",
                run.resources.model_dump(exclude_defaults=True), run.where,
            )  # fmt: skip
