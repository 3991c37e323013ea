"""Reward models with their measures before training, and what policies gained by each of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import Problem, UserError
from common.key_paths import value_at
from common.run.folder import RunFolder
from plots.captions import from_to, over_seeds
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.needs.wanted import Wanted, drawn, none_leaves
from plots.runs import Run, json_object, load_runs, read_steps

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

TRAINED, TRUE, KL = "trained_gain", "true_gain", "kl"
"""Columns of what a policy gained: rewards in normalised units, and nats from the start."""
_COLUMNS = ["reward", "measure", "value"]
_REWARD = "val/reward"
_KLS = ("objective/kl", "rollout_info/kl_div_mean")
_TRUTH = "ground_truth"
_TABULAR = "tabular_teachers"
_FIX = (
    'fix: give the folder of a plan with a run of the experiment "teacher" and runs that finetune '
    "by its rewards (\"normalized\") with 'train_evaluation.measure_reward', or with runs of the "
    f'experiment "{_TABULAR}"'
)


@dataclass(frozen=True)
class Taught:
    """A policy that a reward has trained."""

    study: str
    """Name of the run that measured the reward."""
    reward: str
    seed: int
    curve: pd.DataFrame
    """By step: ``trained_reward``, ``true_reward`` and ``kl``."""


@dataclass(frozen=True)
class Study:
    """Measures of reward models, and the policies that they have trained."""

    name: str
    seed: int | None
    """Seed of measures and policies; None where policies have their own."""
    measures: pd.DataFrame
    """A row per reward and a column per measure."""
    taught: Sequence[Taught]
    num_prompts: int
    """Number of prompts on which rewards were measured."""
    num_samples: int
    """Number of the policy's outputs of each."""


def _read_measures(folder: RunFolder) -> pd.DataFrame | None:
    """Return a row per reward and a column per measure; None for other runs."""
    import pandas as pd

    path = folder.table("teachers")
    if not path.exists():
        return None
    try:
        table = pd.read_parquet(path, columns=_COLUMNS)
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: left out: %s", path, str(error).partition("\n")[0])
        return None
    wide = table.pivot_table(index="reward", columns="measure", values="value", sort=False)
    return wide.loc[list(dict.fromkeys(table["reward"]))]


def _read_trained(folder: RunFolder) -> pd.DataFrame | None:
    table = read_steps(folder)
    return table if table is not None and _REWARD in table else None


MEASURED = Wanted(
    _read_measures,
    "measures of reward models (teachers.parquet)",
    _FIX,
    lambda run: run.experiment in ("teacher", _TABULAR),
)
POLICIES = Wanted(
    _read_trained,
    f"'{_REWARD}' by step in metrics.jsonl",
    _FIX,
    lambda run: planned.finetunes_by_rewards(run) and run.run.config.logs(_REWARD) is not False,
)


def without_policies(runs: Sequence[PlannedRun], true_metric: str | None) -> Iterator[Problem]:
    """Yield the problems of a plan without policies, trained by the measured rewards."""
    if not any(run.experiment == _TABULAR for run in runs):
        yield from none_leaves(runs, POLICIES)
        if true_metric is not None:
            policies = drawn(runs, POLICIES)
            yield from planned.none_logs(policies, "true_metric", true_metric)


def studies(runs: Sequence[Path], only: str = "", true_metric: str | None = None) -> list[Study]:
    """Return the studies of plan folders and run folders.

    Args:
        runs: plan folders and run folders.
        only: see `load_runs`.
        true_metric: metric of the true reward, with its split; None for the first validation metric
            but the reward.

    Raises:
        UserError: no run has measured reward models, or no policy was trained by one of them.
    """
    measured = load_runs(runs, MEASURED, only)
    tabular = [run for run in measured if TRAINED in run.table]
    found = [_tabular(run) for run in tabular]
    if len(tabular) < len(measured):
        policies = load_runs(runs, POLICIES, only)
        for run in measured:
            if run not in tabular:
                found.append(_of_texts(run, policies, true_metric))
    return found


def counts_in_words(found: Sequence[Study]) -> str:
    """Return the numbers of prompts and samples of measures, and of seeds of policies."""
    prompts, samples = (
        from_to([getattr(study, name) for study in found])
        for name in ("num_prompts", "num_samples")
    )
    seeds = Counter((one.study, one.reward) for study in found for one in study.taught)
    return (
        f"measured on n = {prompts} prompts, K = {samples} outputs of each;\n"
        f"mean and standard deviation over {over_seeds(seeds.values())}"
    )


def points(found: Sequence[Study]) -> pd.DataFrame:
    """Return one row per policy: study, reward, seed, all measures, gains and KL divergence."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for study in found:
        for one in study.taught:
            first, last = one.curve.iloc[0], one.curve.iloc[-1]
            gains = {
                TRAINED: last["trained_reward"] - first["trained_reward"],
                TRUE: last["true_reward"] - first["true_reward"],
                KL: last["kl"],
            }
            measures = {str(name): value for name, value in study.measures.loc[one.reward].items()}
            rows.append({"study": one.study, "reward": one.reward, "seed": one.seed, **measures,
                         **gains})  # fmt: skip
    return pd.DataFrame(rows)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per study and reward: means over seeds, and stds of gains (``_std``)."""
    by_reward = table.drop(columns="seed").groupby(["study", "reward"], sort=False)
    stds = by_reward[[TRAINED, TRUE, KL]].std(ddof=1).add_suffix("_std")
    found: pd.DataFrame = by_reward.mean().join(stds)
    return found.assign(seeds=by_reward.size()).reset_index()


def _tabular(run: Run) -> Study:
    import pandas as pd

    curves = pd.read_parquet(RunFolder(run.path).table("teacher_curves"))
    seed = int(run.config.get("random_seed") or 0)
    taught = [
        Taught(run.name, str(name), seed, curve.set_index("step"))
        for name, curve in curves.groupby("reward", sort=False)
    ]
    counts = int(run.config["num_prompts"]), int(run.config["num_measured_samples"])
    return Study(run.name, seed, run.table, taught, *counts)


def _of_texts(run: Run, policies: Sequence[Run], true_metric: str | None) -> Study:
    """Return the study of policies whose reward is normalised by the constants of a run.

    Raises:
        UserError: there is no such policy.
    """
    import pandas as pd

    constants = json_object(run.path / "normalization.json")
    taught = list(_taught(run, policies, constants, true_metric))
    if not taught:
        raise UserError(f"{run.path}: no policy was trained by a reward that it measured\n  {_FIX}")
    inputs = pd.read_parquet(RunFolder(run.path).table("teachers_by_input"), columns=["input_id"])
    num_samples = int(value_at(run.config, "evaluation.num_samples_per_input"))
    return Study(run.name, None, run.table, taught, inputs["input_id"].nunique(), num_samples)


def _taught(
    run: Run, policies: Sequence[Run], constants: Mapping[str, Any], true_metric: str | None
) -> Iterator[Taught]:
    import pandas as pd

    scale = float(constants[_TRUTH]["scale"])
    for policy in policies:
        args = value_at(policy.config, "reward_fn.args", {})
        folder, name = Path(args.get("constants", "")).parent.name, args.get("name")
        if folder != run.path.name or name not in run.table.index:
            continue
        table = policy.table
        others = (name for name in policy.metrics if name.startswith("val/") and name != _REWARD)
        metric = true_metric or next(others, None)
        if metric not in table:
            raise UserError(
                f"{policy.path}: has not measured the true reward"
                f"{f' {metric!r}' if metric else ''}; name a metric as 'true_metric'"
            )
        kl = next((name for name in _KLS if name in table), None)
        curve = pd.DataFrame(
            {
                "trained_reward": table[_REWARD],
                "true_reward": scale * table[metric],
                "kl": table[kl].ffill().fillna(0.0) if kl else float("nan"),
            }
        )
        seed = int(policy.config.get("random_seed") or 0)
        yield Taught(run.name, name, seed, curve.dropna(subset=["trained_reward"]))
