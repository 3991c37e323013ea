"""The glossary of metrics: it has every name that is logged, and no other one."""

from __future__ import annotations

import ast
import csv
import inspect
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pydantic import TypeAdapter

from common.run.folder import RunFolder, read_json, read_json_lines
from grue import metrics
from grue.experiments.new_model.tokenizer import byte_pairs
from grue.experiments.reward_model.config import AnyLoss
from grue.experiments.reward_model.objectives import make_objective
from grue.metrics.config import MetricConfig, is_key, measure
from grue.metrics.reference_metric import PairwiseMetric
from tests import metric_glossary as glossary
from tests.conftest import TINY_DIGITS, Workplace
from tests.grue import test_classifier, test_ppo_human_preferences, test_reward_model
from tests.grue.conftest import TEXTS, save_model, write
from tests.grue.judging import save_classifier
from tests.grue.made_texts import made_texts
from tests.grue.metrics.test_totto import jane
from tests.grue.parts import EVEN, LETTERS, OVERLAP
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import MASKED, TRUSTED, reinforcement

Logged = Iterable[tuple[str, set[str], list[str]]]
"""Where names were found, the names, and the headings under which they should stand."""

FUNCTION = "custom:tests.grue.parts:quiet_vowels"
EVALUATED = [{"id": "length"}, {"id": "diversity", "args": {"window_size": 2}}, {"id": FUNCTION},
             {"id": "dates"}]  # fmt: skip
OF_RL = ["Every row", "Rollouts", "All updates", "Progress"]
OF_TRAINER = ["Every row", "Supervised finetuning"]
OF_GROUPS = ["Reward std", "Groups of outputs"]
OF_ROWS = {
    "controlled": ["Rows of an epoch"],
    "together": ["Rows of an epoch"],
    "linear": ["The linear model"],
    "log_linear": ["Log-linear runs"],
    "sft": OF_TRAINER,
    "ppo": [*OF_RL, "PPO"],
    "nlpo": [*OF_RL, "NLPO"],
    "a2c": [*OF_RL, "A2C"],
    "trpo": [*OF_RL, "TRPO"],
    "reinforce": [
        *OF_RL,
        "REINFORCE",
        "Progress",
        "Parts of the reward",
        *OF_GROUPS,
        "Mixed precision",
    ],
    "grpo": [*OF_RL, "Algorithms without a critic", "Progress", *OF_GROUPS],
    "rejection_sampling": [*OF_RL, "Rejection sampling", *OF_GROUPS],
    "drawing": [*OF_RL, "Algorithms without a critic", "Progress", *OF_GROUPS],
    "hints": [*OF_RL, "Algorithms without a critic", "Progress", *OF_GROUPS],
    "preferences": [*OF_RL, "PPO of lm-human-preferences", "Progress"],
    "classifier": [*OF_TRAINER, "Classifiers"],
    "reward_model": [*OF_TRAINER, "Reward models"],
    "samples": [],
}
"""The headings of the names in a run's ``metrics.jsonl``, by ``experiment_name``."""
OF_TABLES = {
    "per_input": ["per_input.parquet"],
    "theory": ["theory.parquet"],
    "samples": ["samples.parquet"],
    "reward_stats": ["reward_stats.parquet"],
}
OF_OTHER_PROGRAMS = {
    "bert_score", "bleurt", "causal_perplexity", "intent_accuracy", "learned_preference",
    "learned_reward", "math_verify", "reasoning_gym", "spice", "summaCConv", "summaCZS",
}  # fmt: skip
"""Metrics that need a model or a program; their names are read in their source."""
ARGS_OF_METRICS: dict[str, Any] = {
    "diversity": {"window_size": 2},
    "increasing_numbers": {"min_tokens": 4},
    "matches": {"pattern": "a"},
}
LOSSES = ["best_of_n", "pairwise", "probabilistic", "scalar_rating", "scalar_compare"]


def small_runs(folder: Path) -> list[dict[str, Any]]:
    """A run of each family, with all that it can measure."""
    model = save_model(folder / "model", byte_pairs(iter(TEXTS * 3), 300, 64))
    bert = save_classifier(folder / "bert")
    choices = test_reward_model.write_data(folder / "choices", 2, train=16)
    one_step = {"max_steps": 1, "logging_steps": 1}
    sizes = {"n_iters": 1, "eval_every": 1, "metrics": EVALUATED, "eval_batch_size": 8}
    short = {f"train_evaluation__{key}": value for key, value in sizes.items()}
    rl = partial(reinforcement, model, **short, env__n_envs=4)
    exact_kl = {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "analytic_kl_grad": True,
                "measure_gradient_noise": True}  # fmt: skip
    of_kl = {f"alg__args__{key}": value for key, value in exact_kl.items()}
    as_loss = {"alg__kl_div__coeff": 0.1, "alg__kl_div__placement": "loss"}
    critic = {key: value for key, value in TRUSTED.items() if key.startswith("alg")}
    of_groups = {"train_evaluation__num_samples_per_input": 2,
                 "train_evaluation__metrics": [{"id": "exact_answer"}],
                 "train_evaluation__group_by": "animal"}  # fmt: skip
    normalize = test_reward_model.reference(model, num_samples=8)
    preferences = test_ppo_human_preferences.configuration(model, **short, **as_loss)
    return [
        {**TINY_DIGITS, "experiment": "sft_vs_rft", "experiment_name": "controlled",
         "kl_regularization_coeff": 0.1, "theory_every": 1, "theory_inputs": 4},
        {"experiment": "linear_theory", "experiment_name": "linear"},
        {"experiment": "log_linear", "experiment_name": "log_linear", "epochs": 2, "num_outputs": 2,
         "target_reward": -1.0},
        finetuning(model, alg__training_args__max_steps=5, train_evaluation__metrics=EVALUATED),
        rl("ppo_kl", experiment_name="ppo", **of_kl),
        rl("nlpo", **of_kl, **MASKED),
        rl("a2c", alg__args__n_steps=4, **as_loss),
        rl("trpo", **critic),
        rl("reinforce", **as_loss, alg__args__num_samples_per_input=2,
           alg__policy__mixed_precision="fp16", reward_fn__id="weighted_sum",
           reward_fn__args__rewards=[{"id": LETTERS}, {"id": "length", "weight": 0.1}]),
        rl("grpo", alg__args__num_samples_per_input=2, alg__args__zero_std_groups="resample",
           reward_fn__id=EVEN, alg__args__sft_coeff=0.1, **of_groups),
        rl("rejection_sampling", alg__args__num_samples_per_input=4, reward_fn__id=EVEN),
        rl("dr_grpo", experiment_name="drawing", alg__args__num_samples_per_input=2,
           alg__args__zero_std_groups="draw_more", alg__args__filter_by_std={"top_k": 2},
           alg__args__solved_above=0.9, reward_fn__id=EVEN),
        rl("dr_grpo", experiment_name="hints", alg__args__num_samples_per_input=2,
           alg__args__zero_std_groups="hint", reward_fn__id=EVEN),
        preferences | {"experiment_name": "preferences"},
        extraction(model, evaluation__metrics=EVALUATED, evaluation__group_by="animal",
                   evaluation__gradients=True),
        {**test_reward_model.configuration(model, choices, "pairwise", normalize=normalize,
                                           alg={"training_args": one_step}),
         "experiment": "reward_model", "experiment_name": "reward_model"},
        {**test_classifier.configuration(bert, training_args=one_step),
         "experiment": "grue_classifier", "experiment_name": "classifier"},
    ]  # fmt: skip


def logged_by_runs(workplace: Workplace) -> Logged:
    """The names in the folders of all runs."""
    for folder in workplace.folders() + workplace.folders("vectorized"):
        name = read_json(folder.config)["experiment_name"]
        rows = {key for row in read_json_lines(folder.metrics) for key in row}
        yield f"{name}/metrics.jsonl", rows, OF_ROWS[name]
        yield f"{name}/summary.json", set(_in_summary(folder)), ["summary.json"]
        for table, headings in OF_TABLES.items():
            if folder.table(table).exists():
                columns = set(pd.read_parquet(folder.table(table)).columns)
                yield f"{name}/{table}.parquet", columns, headings
    (stats,) = workplace.path.glob("outputs/exps/plan/samples-*/reward_stats.json")
    yield stats.name, set(_in_stats(read_json(stats))), ["reward_stats.json", "Reward std"]
    with (workplace.path / "outputs/exps/vectorized/index.csv").open() as file:
        header = set(next(csv.reader(file)))
    assert "lr" in header, "the option that varies"
    yield "index.csv", header - {"lr"}, ["index.csv"]


def _in_summary(folder: RunFolder) -> Iterator[str]:
    summary = read_json(folder.summary)
    yield from summary
    if summary["score_metric_name"] == "time":
        yield from (f"last.{key}" for key in summary["last"])
    for moment, values in summary.get("normalization", {}).items():
        yield from (f"normalization.{moment}.{key}" for key in values)


def _in_stats(stats: dict[str, Any]) -> Iterator[str]:
    for key, value in stats.items():
        if key != "metrics":
            yield key
            continue
        for of_metric in value.values():
            yield from of_metric


def logged_by_losses() -> Logged:
    """The measures of a reward model, by loss."""
    for loss in LOSSES:
        keys = TypeAdapter(AnyLoss).validate_python({"id": loss})
        objective = make_objective(keys)
        shape = {"scalar_rating": (4, 1), "probabilistic": (4, 2, 10)}.get(loss, (4, 2))
        outputs = torch.rand(shape, generator=torch.Generator().manual_seed(0)).double()
        measured = objective.measures(outputs, torch.tensor([0.0, 1.0, 0.0, 1.0]).double())
        yield loss, {f"val/{name}" for name in measured}, ["Reward models"]


def compared(logged: Logged) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The logged names that the glossary lacks, by where they were; its unlogged ones."""
    lacking: dict[str, list[str]] = {}
    unlogged: dict[str, set[str]] = {}
    for place, found, headings in logged:
        known = {heading: glossary.names(heading) for heading in headings}
        matches = {
            name: {
                found_name for found_name in found if glossary.pattern(name).fullmatch(found_name)
            }
            for of_heading in known.values()
            for name in of_heading
        }
        lost = found.difference(*matches.values())
        if lost:
            lacking[place] = sorted(lost)
        for heading, of_heading in known.items():
            absent = {name for name in of_heading if not matches[name]}
            unlogged[heading] = unlogged.get(heading, absent) & absent
    return lacking, {heading: sorted(names) for heading, names in unlogged.items() if names}


def check(logged: Logged) -> None:
    """Fails with the names that the glossary lacks, or has for nothing."""
    lacking, unlogged = compared(logged)
    assert not lacking, f"docs/metrics.md lacks {json.dumps(lacking, indent=2)}"
    assert not unlogged, f"docs/metrics.md has what nothing logs: {json.dumps(unlogged, indent=2)}"


@pytest.mark.slow
def test_runs_log_the_names_of_the_glossary(workplace: Workplace) -> None:
    alone = write(workplace, *small_runs(workplace.path))
    base = {**TINY_DIGITS, "experiment_name": "together", "theory_every": 1, "theory_inputs": 4}
    lrs = {"base_config": base, "options": {"lr": [0.1, 0.01]}}
    together = workplace.write_plan("vectorized", configurations=[lrs], vectorize=True)
    for plan in (alone, together):
        outcome = workplace.run_plan(plan)
        assert outcome.status == 0, outcome.err
    assert set(OF_ROWS) == {read_json(folder.config)["experiment_name"] for folder in
                            workplace.folders() + workplace.folders("vectorized")}  # fmt: skip
    check([*logged_by_runs(workplace), *logged_by_losses()])


def names_of_metric(name: str) -> set[str]:
    """The names that a metric gives its numbers: of all outputs together, and of each."""
    metric = metrics.find(name)
    if name in OF_OTHER_PROGRAMS:
        literals = ast.walk(ast.parse(inspect.getsource(inspect.getmodule(metric))))
        return {
            node.value for node in literals
            if isinstance(node, ast.Constant) and re.fullmatch("[a-z_]+/[a-z_]+", str(node.value))
        }  # fmt: skip
    made = metric(metric.Args.model_validate(ARGS_OF_METRICS.get(name, {})))
    if isinstance(made, PairwiseMetric):
        return set(made.keys)
    known = {"raw_table": jane(), "difficulty": 1}
    texts = made_texts(["the cat sat"] * 2, [["the cat sat down"]] * 2, [known] * 2)
    return {*made.corpus(texts), *made.scores(texts)}


def test_metrics_log_the_names_of_the_glossary() -> None:
    known = [*metrics.METRICS.names(), FUNCTION]
    logged = [(name, names_of_metric(name), [glossary.METRICS]) for name in known]
    assert [name for name, found, _ in logged if not found] == []
    check(logged)


def test_metrics_tell_before_a_run_which_names_they_will_log() -> None:
    every = set().union(*map(names_of_metric, metrics.METRICS.names()))
    for name in [*metrics.METRICS.names(), FUNCTION]:
        own, alone = names_of_metric(name), [MetricConfig(id=name)]
        told = {key for key in every | own if measure(alone, key)}
        if name in OF_OTHER_PROGRAMS:  # of which all names of a module are known
            own &= told
        assert own and own <= told, name
        assert all(key.startswith(tuple(own)) for key in told - own), name
        assert all(is_key(key) for key in own) or name == FUNCTION
    assert measure([MetricConfig(id=OVERLAP)], "any/name") is None
    assert measure([MetricConfig(id="length")], "answer/accuracy", ["answer/*"])
    assert not is_key("ppo/approx_kl")


def test_no_pattern_of_the_glossary_knows_any_name() -> None:
    headings = sorted({row.heading for row in glossary.rows() if row.codes("Name")})
    made_up = ["custom/made/up", "diversity_metrics/distinct-4", "lexical/made_up", "made_up",
               "made_up/quiet_vowels", "ppo/made_up", "reward made_up", "val/made_up"]  # fmt: skip
    lacking, _ = compared([("made up", set(made_up), headings)])
    assert lacking == {"made up": made_up}


def test_numbers_are_computed_where_the_glossary_says() -> None:
    places = {place for row in glossary.rows() for place in row.codes("Computed in")}
    assert {place.partition(".")[0] for place in places} == {"common", "grue", "sft_vs_rft"}
    for place in sorted(places):
        pkgutil.resolve_name(place)  # or an error that names it
