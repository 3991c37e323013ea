"""Algorithms and policies outside the project, named in a plan."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.config.base import Config
from common.config.resolve import resolve
from grue.algorithms import ALGORITHMS, find
from grue.algorithms.algorithm import Algorithm
from grue.algorithms.args import ActorCriticArgs, ReinforceArgs
from grue.algorithms.config import AlgorithmArgs
from grue.algorithms.reinforce import Reinforce
from grue.experiments.finetune.config import FinetuneConfig, ReinforcementConfig
from grue.experiments.finetune.rollout_settings import rollout_settings
from grue.metrics.metric import Metric, NoArgs, Scores
from grue.models.config import ModelType
from grue.policies.config import PolicyArgs
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.rewards.reward import Reward, Rewards
from grue.rollouts.batch import Rollout
from grue.rollouts.spec import RolloutSpec
from grue.tasks.task import Sample, Split, Task
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import encoder_decoder, nested, save_model, write
from tests.grue.test_reinforcement import reinforcement, rewards_of, rows_of

HERE = f"custom:{__name__}:"


class BestOfArgs(ReinforceArgs):
    """The keys of the algorithm."""

    keep: int = 2
    """How many of an input's outputs are imitated."""


class BestOf(Reinforce):
    """Imitates the best outputs of each input, without regard for how good they are."""

    Args = BestOfArgs

    def _with_baseline(self, rollout: Rollout) -> Rollout:
        scores = rollout.task_rewards.sum(1).view(-1, self.args.num_samples_per_input)
        best = scores.argsort(1, descending=True).argsort(1) < self.args.keep
        advantages = best.float().reshape(-1, 1) * rollout.response_mask
        return rollout.with_advantages(advantages, torch.zeros_like(advantages))


class DiscountedArgs(AlgorithmArgs):
    """The keys of algorithms that say themselves what they need."""

    learning_rate: float = 0.1
    discount: float = 0.5
    """Its own name for gamma."""
    length: int = 3
    """And for n_steps."""

    def rollout_spec(self) -> RolloutSpec:
        return RolloutSpec(
            num_steps=self.length, gamma=self.discount, gae_lambda=1.0, samples_per_input=2
        )


class Discounted(Algorithm[DiscountedArgs]):
    """Learns nothing."""

    Args = DiscountedArgs

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        return {}


class MisspeltArgs(DiscountedArgs):
    """Read a key by another name than it has."""

    def rollout_spec(self) -> RolloutSpec:
        return replace(super().rollout_spec(), gamma=self.discuont)  # type: ignore[attr-defined]


class MisspeltSpecArgs(DiscountedArgs):
    """Say gamma by another name."""

    def rollout_spec(self) -> RolloutSpec:
        return replace(super().rollout_spec(), gama=0.5)  # type: ignore[call-arg]


class SilentArgs(ActorCriticArgs):
    """Do not say how large a rollout is."""

    n_steps: int = 3


class PlainArgs(Config):
    """Say nothing of rollouts."""

    gama: float = 0.5


class Misspelt(Discounted):
    Args = MisspeltArgs


class MisspeltSpec(Discounted):
    Args = MisspeltSpecArgs


class Silent(Discounted):
    Args = SilentArgs  # type: ignore[assignment]


class Undescribed(Discounted):
    Args = PlainArgs  # type: ignore[assignment]


class Older(Discounted):
    """Says itself what its settings say now."""

    whole_outputs = True


class PrefixedArgs(PolicyArgs):
    """The keys of the policy."""

    prefix: str
    """Stands before each prompt."""


class Prefixed(Policy):
    """Reads its prompts behind a prefix."""

    Args = PrefixedArgs
    model_type: ClassVar[ModelType] = "seq2seq"
    seen: ClassVar[list[str]] = []

    def encode(self, prompts: Any, limit: int, side: Any = "left") -> list[Tokens]:
        prefixed = [self.args.prefix + prompt for prompt in prompts]
        self.seen += prefixed
        return super().encode(prefixed, limit, side)


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def test_an_algorithm_of_the_users_trains(workplace: Workplace, model: Path) -> None:
    run = reinforcement(model, f"{HERE}BestOf", experiment_name="own", env__n_envs=6,
                        alg__args__num_samples_per_input=8, alg__args__learning_rate=0.01,
                        train_evaluation__n_iters=12)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    assert "reinforce/grad_norm" in rows_of(folder)[1]
    args = json.loads(folder.config.read_text())["alg"]["args"]
    assert args["keep"] == 2 and args["num_samples_per_input"] == 8
    rewards = rewards_of(folder)
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.05


def test_what_an_algorithm_of_the_users_needs_of_rollouts_reaches_them(model: Path) -> None:
    keys = nested(reinforcement(model, f"{HERE}Discounted", env__n_envs=5, alg__args__length=7))
    keys.pop("experiment")
    config, problems = resolve(FinetuneConfig, keys)
    assert isinstance(config, ReinforcementConfig) and not problems
    settings = rollout_settings(config.env, config.alg)
    assert (settings.gamma, settings.gae_lambda) == (0.5, 1.0)
    assert (settings.num_tokens, settings.samples_per_input) == (7 * 5 * 2, 2)
    assert not settings.whole_outputs


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_a_built_in_algorithm_is_described_as_one_of_the_users(name: str) -> None:
    """Its class has the settings by which plans know it, or those with other defaults."""
    described = ALGORITHMS.get(name)
    found = find(name)
    assert issubclass(found, Algorithm) and issubclass(described.args, found.Args)
    assert issubclass(described.args, AlgorithmArgs)
    assert isinstance(described.args().rollout_spec(), RolloutSpec)


def test_a_policy_of_the_users_is_used(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = tmp_path / "model"
    encoder_decoder("t5", len(tokenizer)).save_pretrained(model)
    tokenizer.save_pretrained(model)
    run = reinforcement(model, "reinforce", train_evaluation__n_iters=1, env__n_envs=2,
                        alg__policy__id=f"{HERE}Prefixed",
                        alg__policy__args__prefix="say: ")  # fmt: skip
    Prefixed.seen.clear()
    assert workplace.run_plan(write(workplace, run)).status == 0
    assert Prefixed.seen and all(prompt.startswith("say: ") for prompt in Prefixed.seen)
    (folder,) = workplace.folders()
    policy = json.loads(folder.config.read_text())["alg"]["policy"]
    assert policy["args"]["prefix"] == "say: " and policy["critic"] == "copy"


WRONG: dict[str, dict[str, Any]] = {
    r"'alg\.args\.keep' = 'x': expected a whole number": {
        "alg__id": f"{HERE}BestOf",
        "alg__args": {"keep": "x"},
    },
    r"'alg\.args\.num_samples_per_input' = 1: 'leave_one_out' needs at least 2": {
        "alg__id": f"{HERE}BestOf",
        "alg__args": {"num_samples_per_input": 1},
    },
    r"'alg\.id' = 'custom:.*': 'custom:.*:Misspelt' raised AttributeError: .*'discuont' \(": {
        "alg__id": f"{HERE}Misspelt"
    },
    r"'custom:.*:MisspeltSpec' raised TypeError: .* 'gama' \(.*, line \d+\)": {
        "alg__id": f"{HERE}MisspeltSpec"
    },
    r"'alg\.id' = 'custom:.*:Silent': SilentArgs lacks def rollout_spec\(self\)": {
        "alg__id": f"{HERE}Silent"
    },
    r"'alg\.id' = 'custom:.*:Undescribed': PlainArgs is no .*AlgorithmArgs; derive it from": {
        "alg__id": f"{HERE}Undescribed"
    },
    r"'alg\.id' = 'custom:.*:Older': Older has 'whole_outputs', which is now said by 'num_steps'": {
        "alg__id": f"{HERE}Older"
    },
    r"'alg\.id' = 'custom:.*Prefixed': Prefixed is no grue\.algorithms\.algorithm\.Algorithm; ": {
        "alg__id": f"{HERE}Prefixed"
    },
    r"'alg\.policy\.args\.prefix': this key is required": {"alg__policy__id": f"{HERE}Prefixed"},
    r"'alg\.policy\.id' = 'custom:nowhere:X': 'nowhere:X' cannot be imported": {
        "alg__policy__id": "custom:nowhere:X"
    },
}


def test_what_is_wrong_with_them_is_told_by_key(workplace: Workplace, model: Path) -> None:
    runs = [reinforcement(model, "reinforce", **changes) for changes in WRONG.values()]
    outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status == 2
    assert [message for message in WRONG if not re.search(message, outcome.err)] == []


def test_all_parts_that_cannot_be_imported_are_told_together(
    workplace: Workplace, model: Path
) -> None:
    """An algorithm or a policy that is not there leaves no configuration to look at."""
    keys = ("reward_fn.id", "datapool.id", "alg.id", "alg.policy.id")
    names = {key: f"custom:nowhere:Part{number}" for number, key in enumerate(keys)}
    metrics = [{"id": "custom:nowhere:First"}, {"id": "custom:nowhere:Second"}]
    run = {**reinforcement(model), **names, "train_evaluation.metrics": metrics}
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    for number, metric in enumerate(metrics):
        names[f"train_evaluation.metrics[{number}].id"] = metric["id"]
    for key, name in names.items():
        assert outcome.err.count(f"'{key}' = '{name}': ") == 1


class FailsAtOnce(Metric[NoArgs]):
    """Raises while it is made."""

    def __init__(self, args: NoArgs) -> None:
        raise ZeroDivisionError("no metric")

    def scores(self, texts: Texts) -> dict[str, Scores]:
        raise NotImplementedError


class Unprepared(Reward[NoArgs]):
    """Raises when it is asked whether it lacks anything."""

    def prepare(self) -> None:
        raise LookupError("no reward")

    def __call__(self, texts: Texts) -> Rewards:
        raise NotImplementedError


class Sampleless(Task[NoArgs]):
    """Raises in place of samples."""

    def samples(self, split: Split) -> list[Sample]:
        raise KeyError("no samples")


def test_what_they_raise_before_the_start_is_told_with_the_line(
    workplace: Workplace, model: Path
) -> None:
    metric, reward = f"{HERE}FailsAtOnce", f"{HERE}Unprepared"
    run = reinforcement(
        model, "reinforce", train_evaluation__metrics=[{"id": metric}], reward_fn__id=reward
    )
    outcome = workplace.run_plan(write(workplace, run))
    assert (outcome.status, workplace.folders()) == (2, [])
    for told in (f"'{metric}' raised ZeroDivisionError: no metric",
                 f"'{reward}' raised LookupError: no reward"):  # fmt: skip
        assert re.search(rf"{re.escape(told)} \({re.escape(__file__)}, line \d+\)", outcome.err)


def test_a_task_that_raises_is_told_with_the_line_and_its_traceback(
    workplace: Workplace, model: Path
) -> None:
    run = reinforcement(model, "reinforce", datapool__id=f"{HERE}Sampleless")
    assert workplace.run_plan(write(workplace, run)).status == 1
    (folder,) = workplace.folders()
    status = folder.read_status()
    assert re.search(
        r"Sampleless' raised KeyError: 'no samples' \(.*, line \d+\)", status["reason"]
    )
    assert 'raise KeyError("no samples")' in status["traceback"]
