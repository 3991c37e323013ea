"""Figures that a plan cannot fill are told before any of its runs is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plots
from common.errors import Problem
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from tests.conftest import TINY_DIGITS, TOY, Workplace
from tests.grue.parts import OVERLAP
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

MODEL = Path("nobody/nothing")
METEOR = [{"id": "meteor"}]
SIMPLE = {"alg__id": "grpo", "alg__kl_div": None}


def digits(**changes: Any) -> dict[str, Any]:
    return {"base_config": {**TINY_DIGITS, **changes}}


def text(keys: dict[str, Any], **configuration: Any) -> dict[str, Any]:
    return {"experiment": keys.pop("experiment"), "base_config": keys, **configuration}


def by_rewards(**changes: Any) -> dict[str, Any]:
    changes = {"train_evaluation__metrics": METEOR, **changes}
    return text(reinforcement(MODEL, **changes))


def samples(**changes: Any) -> dict[str, Any]:
    return text(extraction(MODEL, **changes))


def sft(**changes: Any) -> dict[str, Any]:
    return text(finetuning(MODEL, **changes), id="sft")


LINEAR = {"experiment": "linear_theory", "base_config": {}}
LOG_LINEAR = {"experiment": "log_linear", "base_config": {"epochs": 2}}
NEVER = {"frac_samples_to_modify_labels": 0.0}


@pytest.mark.parametrize(
    ("figure", "options", "configurations", "message"),
    [
        ("controlled_curves", {}, [digits(**NEVER)], "inputs with a changed label"),
        ("controlled_curves", {}, [digits(diagnostics=False)], "leave 'diagnostics' on"),
        ("controlled_curves", {}, [digits(frac_samples_to_modify_labels=0.001)], "changed label"),
        ("reward_std_vs_gradient", {}, [digits(**NEVER)], "'frac_samples_to_modify_labels' above"),
        ("reward_std_vs_gradient", {"only": "^x"}, [digits()],
         "'only' = '^x': found in no run's name; there are exp"),
        ("gradient_bound", {}, [digits()], "fix: set 'theory_every'"),
        ("learning_time", {}, [digits()], '"experiment": "linear_theory"'),
        ("learning_curves", {}, [digits()], 'runs of the experiment "grue_finetune"'),
        ("learning_curves", {}, [samples()], "no run of the plan will have metrics by step"),
        ("learning_curves", {"metrics": ["loss", "val/lexical/bleu"]}, [by_rewards(), LINEAR],
         "'metrics' = 'val/lexical/bleu': no run of the plan will measure it; add its metric"),
        ("learning_curves", {"metrics": ["lexical/meteor"]}, [by_rewards()],
         "evaluations log it with their split: write 'val/lexical/meteor'"),
        ("learning_curves", {"metrics": ["train/lexical/meteor"]}, [by_rewards()],
         "'train/lexical/meteor': no run of the plan will measure it"),
        ("learning_curves", {"metrics": ["val/reward"]}, [by_rewards()], "'val/reward': no run"),
        ("loglin_stall", {}, [LINEAR], "with 'use_expected_reinforce_updates' = true"),
        ("loglin_sampled", {}, [LOG_LINEAR], "with 'use_expected_reinforce_updates' = false"),
        ("reward_mean_std", {}, [by_rewards()], 'runs of the experiment "grue_extract"'),
        ("reward_mean_std", {}, [samples(evaluation__num_samples_per_input=1,
                                         evaluation__group_sizes=[])], "at least 2 samples"),
        ("reward_mean_std", {"metric": "lexical/bleu"},
         [samples(evaluation__metrics=METEOR)], "'metric' = 'lexical/bleu': no run"),
        ("expected_gradients", {}, [samples()], "fix: set 'evaluation.gradients'"),
        ("reward_change", {}, [samples()], "samples the model of a run that finetunes"),
        ("small_std_share", {}, [samples()], "samples the model of a run that finetunes"),
        ("reward_vs_keys", {}, [sft()], "finetune by rewards"),
        ("reward_vs_keys", {}, [by_rewards()], "no runs of the plan differ in one"),
        ("reward_vs_sft", {}, [by_rewards()], "finetunes the model of a supervised run"),
        ("reward_vs_kl", {"reward": "val/lexical/bleu"}, [by_rewards()], "'reward' = 'val/lexical"),
        ("gradient_noise", {}, [by_rewards()], "fix: set 'alg.args.measure_gradient_noise'"),
        ("pareto_front", {}, [by_rewards()],
         "'reward' = 'semantic/learned_automodel_metric': no run of the plan will measure it on"),
        ("pareto_front", {}, [sft()], "no run of the plan will have"),
        ("silent_share", {}, [by_rewards()], "several outputs of each input"),
        ("silent_groups", {}, [by_rewards(alg__args__num_samples_per_input=4)],
         "'group_by' = 'difficulty': no run of the plan will tell groups by it"),
        ("improvement", {}, [by_rewards()], "'train_evaluation.num_samples_per_input' of 2"),
        ("teachers", {}, [by_rewards()], 'a run of the experiment "teacher"'),
    ],
)  # fmt: skip
def test_what_no_run_will_have_is_refused_beforehand(
    workplace: Workplace, nothing_missing: None, figure: str, options: dict[str, Any],
    configurations: list[dict[str, Any]], message: str,
) -> None:  # fmt: skip
    entry = {"figure": figure, **options}
    plan = workplace.write_plan(configurations=configurations, figures=[entry])
    for flags in (["--dry_run"], []):
        outcome = workplace.run_plan(plan, *flags)
        assert outcome.status == 2
        assert f"'figures' = '{figure}': " in outcome.err
        assert message in outcome.err
    assert workplace.files() == []


@pytest.mark.parametrize(
    ("figure", "options", "configurations"),
    [
        ("controlled_curves", {}, [digits(**NEVER), digits()]),
        ("learning_curves", {"metrics": ["loss", "ppo/approx_kl", "val/lexical/meteor"]},
         [by_rewards()]),
        ("learning_curves", {"metrics": ["val/custom/overlap", "val/reward"]},
         [by_rewards(train_evaluation__metrics=[{"id": OVERLAP}],
                     train_evaluation__measure_reward=True)]),
        ("reward_mean_std", {"metric": "reward"}, [samples(reward_fn={"id": "length"})]),
        ("reward_vs_sft", {},
         [sft(), by_rewards(alg__policy__args__model_name="@sft.model",
                            tokenizer__model_name="@sft.model")]),
        ("reward_vs_keys", {"keys": ["alg.args.learning_rate"]},
         [by_rewards(), by_rewards(alg__args__learning_rate=1.0)]),
        ("reward_vs_kl", {}, [by_rewards()]),
        ("gradient_noise", {"metric": "ppo/approx_kl"}, [by_rewards()]),
        ("controlled_curves", {}, [{"experiment": TOY, "base_config": {}}]),
    ],
)  # fmt: skip
def test_what_some_run_may_have_is_not(
    workplace: Workplace, nothing_missing: None, figure: str, options: dict[str, Any],
    configurations: list[dict[str, Any]],
) -> None:  # fmt: skip
    entry = {"figure": figure, **options}
    plan = workplace.write_plan(configurations=configurations, figures=[entry])
    outcome = workplace.run_plan(plan, "--dry_run")
    assert outcome.status == 0, outcome.err


def test_a_model_that_is_there_may_be_of_any_kind(
    workplace: Workplace, nothing_missing: None
) -> None:
    Path("model").mkdir()
    given = by_rewards(alg__policy__args__model_name="model")
    plan = workplace.write_plan(configurations=[given], figures=["reward_vs_sft"])
    assert workplace.run_plan(plan, "--dry_run").status == 0


class Options(FigureOptions):
    """Options of a user's figure, which needs runs of many epochs."""

    epochs: int = 5

    def lacking(self, runs: list[PlannedRun]) -> Iterator[Problem]:  # type: ignore[override]
        if all(run.key("epochs") < self.epochs for run in runs):
            yield Problem("no run is that long", "epochs", self.epochs)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    return []


def test_a_users_figure_may_say_what_it_needs(workplace: Workplace) -> None:
    entry = {"figure": "custom:tests.plots.test_planned:draw"}
    plan = workplace.write_plan(configurations=[digits()], figures=[entry])
    assert "'epochs' = 5: no run is that long" in workplace.run_plan(plan, "--dry_run").err
    plan = workplace.write_plan(configurations=[digits()], figures=[{**entry, "epochs": 2}])
    assert workplace.run_plan(plan, "--dry_run").status == 0


def test_every_figure_of_the_catalogue_says_what_it_needs() -> None:
    for name in plots.FIGURES.names():
        options = plots.find(name).options
        assert options.wanted is not None or "lacking" in vars(options), name
