"""Files of a diagnosis: statistics of the inputs, and lists of inputs for the next step."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config.resolve import resolve, resolve_valid_keys
from common.custom.user_code import look_in
from common.errors import UserError
from common.run.folder import (
    PlanFolder,
    RunFolder,
    read_json,
    write_json,
    write_table,
    write_text,
)
from common.run.provenance import of_this_program
from common.runner.index import read_index
from grue.diagnosis import gradients
from grue.diagnosis.causes import Flags
from grue.diagnosis.diagnose import Diagnosis, Floats, Sampled, diagnose
from grue.diagnosis.estimates import estimates
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.extract.scores import (
    REWARD,
    REWARD_PART,
    SQUARED_NORM,
    STANDARD_ERROR,
)
from grue.interop.dumps import ADVANTAGE
from grue.interop.prompt_folders import write_for_trl, write_for_verl
from grue.interop.trl_run import TrlRun
from grue.rewards.config import RewardConfig
from grue.rl import reward_stats
from grue.tasks.config import DatapoolConfig
from grue.tasks.inputs import load_inputs

if TYPE_CHECKING:
    import pandas as pd

Rows = Sequence[Mapping[str, Any]]
"""Rows of the inputs: their prompts, references and metadata."""
LISTS = ("keep", "warm_up_with_sft", "solved", "control")
"""Names of the lists of inputs, each a JSONL file, and a folder for TRL and one for verl."""


def run_folder(out: Path, plan: str) -> RunFolder:
    """Return the folder of the only run of a diagnosis's plan.

    Raises:
        UserError: there is none.
    """
    folder = PlanFolder(out / plan)
    rows = read_index(folder)
    if not rows:
        raise UserError(f"{folder.path}: holds no run")
    return RunFolder(folder.path / rows[0]["folder"])


def of_run(folder: RunFolder, out: Path, *, seed: int) -> list[str]:
    """Diagnose the samples of a run, write the files to ``out`` and return the sentences."""
    import pandas as pd

    look_in(out)  # where the plan is, and beside it a user's own reward
    config, problems = resolve(ExtractConfig, read_json(folder.config))
    assert isinstance(config, ExtractConfig), problems
    samples = pd.read_parquet(folder.table("samples"))
    provenance = read_json(folder.provenance)
    write_json(RunFolder(out).provenance, provenance)  # which the page about `out` shows
    root = provenance["seeds"]["random_seed"]
    inputs = load_inputs(config.datapool, config.evaluation.split, seed=root)
    rows = [
        {**sample.metadata, "prompt": sample.messages or sample.prompt,
         "references": list(sample.references)}
        for sample in inputs.samples
    ]  # fmt: skip
    names = [name for name in map(str, samples) if name.startswith(REWARD_PART)]
    weights = _weights_of_parts(config.reward_fn) if names and config.reward_fn else {}
    parts = {name: weights.get(name.removeprefix(REWARD_PART), 1.0) for name in names}
    statistics = pd.read_parquet(folder.table("reward_stats"))
    own = statistics[statistics["metric"] == REWARD]
    norms = own.filter([SQUARED_NORM, STANDARD_ERROR]).reset_index(drop=True)
    most = config.alg.generation_kwargs.max_new_tokens
    at_limit = (
        None if most is None else (samples["num_tokens"] >= most).to_numpy(bool, na_value=False)
    )
    return _write(samples, {REWARD: 1.0}, parts, rows, out, seed=seed, norms=norms,
                  source=source_of(config.datapool), at_limit=at_limit)  # fmt: skip


def source_of(datapool: DatapoolConfig) -> str:
    """Return the name of the data: that of a data set on the hub, otherwise the task's id."""
    return str(datapool.args.get("dataset", datapool.id))


def _weights_of_parts(reward: RewardConfig) -> Mapping[str, float]:
    """Return the weights of the rewards of which one is made, by name."""
    kind = reward.find(reward.id)
    args, _ = resolve_valid_keys(kind.Args, reward.args)
    return {} if args is None else kind.weights_of_parts(args)


def of_samples(
    samples: pd.DataFrame,
    weights: Mapping[str, float],
    out: Path,
    *,
    seed: int,
    source: str,
    told: Sequence[str] = (),
    files: Sequence[Path] = (),
    run: TrlRun | None = None,
) -> list[str]:
    """Diagnose samples of `grue.interop.dumps.read_samples`, as `of_run` does.

    Args:
        samples: the samples.
        weights: rewards that are added up, with their weights.
        out: folder to write to.
        seed: seed of intervals.
        source: name of the trainer that has left the samples.
        told: further sentences, on the weights.
        files: what was read, for the provenance.
        run: run that has left the files, if its folder tells of it.
    """
    samples = samples.drop(columns=ADVANTAGE, errors="ignore")
    first = samples.drop_duplicates("index")
    known = ["step", "prompt"] if "step" in samples else ["prompt"]
    rows = [
        {str(key): value for key, value in row.items()} for row in first[known].to_dict("records")
    ]
    parts = weights if len(weights) > 1 else {}
    sentences = _write(samples, weights, parts, rows, out, seed=seed, source=source, told=told)
    outputs = {"source": source, "files": list(map(str, files)),
               **(run.provenance() if run else {})}  # fmt: skip
    record = {"seeds": {"random_seed": seed}, "outputs": outputs, **of_this_program()}
    write_json(RunFolder(out).provenance, record)
    return sentences


def _write(
    samples: pd.DataFrame,
    rewards: Mapping[str, float],
    parts: Mapping[str, float],
    rows: Rows,
    out: Path,
    *,
    seed: int,
    source: str,
    norms: pd.DataFrame | None = None,
    at_limit: Flags | None = None,
    told: Sequence[str] = (),
) -> list[str]:
    """Write all files; ``rewards`` are the columns that are added up, with their weights.

    ``parts`` has the columns of a sum's rewards, with their weights in it. The sentences end with
    those in ``told``. ``source`` names where the inputs are from. ``norms`` has the squared norms
    of the inputs' expected gradients, if they are estimated; ``at_limit`` tells the outputs
    that have as many tokens as one may have.

    Raises:
        UserError: there is one input alone.
    """
    if len(rows) < 2:
        raise UserError("there is one input alone, of which nothing can be said in general; give "
                        "two or more")  # fmt: skip
    shape = len(rows), len(samples) // len(rows)

    def of(name: str) -> Floats:
        found: Floats = samples[name].to_numpy(np.float64).reshape(shape)
        return found

    total = np.sum([weight * of(name) for name, weight in rewards.items()], axis=0)
    outputs = samples["output"].to_numpy().reshape(shape).tolist()
    of_parts = {name.removeprefix(REWARD_PART): weight * of(name) for name, weight in parts.items()}
    full = None if at_limit is None else at_limit.reshape(shape)
    found = diagnose(Sampled(total, outputs, of_parts, full), seed=seed)
    ids = samples["input_id"].to_numpy().reshape(shape)[:, 0].tolist()
    table, summary = reward_stats.tables(
        ids, {REWARD: total, **{_beside(name): of(name) for name in parts}},
        ddof=1, zero_tol=None, low_std=0.01, group_sizes=range(2, shape[1] + 1),
    )  # fmt: skip
    write_table(out / "samples.parquet", samples)
    write_table(out / "reward_stats.parquet", table)
    sentences = [*found.sentences(), *told]
    flags = _flags(found, seed)
    inputs = _inputs(table, rows, found, flags)
    if norms is not None and SQUARED_NORM in norms:
        inputs = inputs.join(norms)
        columns = ("std", SQUARED_NORM, STANDARD_ERROR)
        sentences.append(gradients.sentence(*(inputs[name].to_numpy() for name in columns)))
    write_table(out / "inputs.parquet", inputs)
    for name, chosen in flags.items():
        own = [rows[row] for row in np.flatnonzero(chosen).tolist()]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in own]
        write_text(out / f"{name}.jsonl", "".join(lines))
        write_for_trl(own, out / "datasets" / "trl" / name)
        write_for_verl(own, out / "datasets" / "verl" / name, source)
    by_name = estimates(total, None, seed=seed)
    content = {
        "sentences": sentences,
        "estimates": {name: dataclasses.asdict(one) for name, one in by_name.items()},
        "rewards": summary,
    }
    write_json(out / "diagnosis.json", content)
    return sentences


def _beside(name: str) -> str:
    """Return the name of a part's statistics, which are beside those of the sum."""
    return REWARD_PART + name if name == REWARD else name


def _flags(found: Diagnosis, seed: int) -> dict[str, Any]:
    """Return [N] the inputs of each of `LISTS`."""
    chosen = found.keep, found.warm_up, found.solved, found.control(seed)
    return dict(zip(LISTS, chosen, strict=True))


def _inputs(
    table: pd.DataFrame, rows: Rows, found: Diagnosis, flags: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the table of inputs: statistics of the reward, the prompt, cause and lists."""
    own = table[table["metric"] == REWARD].reset_index(drop=True)
    causes = {name: getattr(found.causes, name) for name in ("equal_outputs", "lowest", "largest",
                                                             "between")}  # fmt: skip
    cause = np.select(list(causes.values()), list(causes), default="")
    prompts = [_as_text(row["prompt"]) for row in rows]
    return own.assign(prompt=prompts, cause=cause, **flags)


def _as_text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
