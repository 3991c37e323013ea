"""REINFORCE with the mean of rewards as baseline: golden values, and each switch of its source."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.run.folder import read_json, read_json_lines
from grue.experiments.finetune.config import FinetuneConfig
from grue.metrics.metric import NoArgs
from grue.policies.policy import Policy
from grue.rewards.config import RewardConfig
from grue.rewards.reward import Rewards
from grue.rl.advantages import cumulative_means, uncertainty_weighted
from grue.rollouts.batch import Rollout
from grue.scorers.classifier import Classifier
from grue.scorers.reward_model import rating_moments
from grue.tasks.config import TaskConfig
from grue.texts import Texts
from tests.conftest import PROJECT, Workplace, without_seconds
from tests.grue.conftest import causal_model, nested, save_model, write
from tests.grue.exact import Subject, Worth, small_tokenizer
from tests.grue.judging import save_classifier, texts
from tests.grue.parts import LETTERS, SIGNALLING
from tests.grue.test_reinforcement import reinforcement

PLANS = PROJECT / "experiment_plans/reinforce_baseline"
FLOAT64 = {"dtype": torch.float64}
REGULARIZED = {"advantage_regularization": "one_over_one_plus_std"}
PUBLISHED = {
    "baseline": "cumulative_mean", "baseline_includes_own": True, "log_prob_of": "sequence",
    "num_samples_per_input": 1, "inputs_in_order": True, "max_grad_norm": None,
}  # fmt: skip


def test_golden_baselines_and_advantages() -> None:
    rewards = torch.tensor([0.5, 0.7, 0.3], **FLOAT64)
    own = cumulative_means(rewards, includes_own=True)
    torch.testing.assert_close(own, torch.tensor([0.5, 0.6, 0.5], **FLOAT64))
    torch.testing.assert_close(rewards - own, torch.tensor([0, 0.1, -0.2], **FLOAT64))
    earlier = cumulative_means(rewards)
    torch.testing.assert_close(earlier, torch.tensor([0.5, 0.5, 0.6], **FLOAT64))


@pytest.mark.parametrize("includes_own", [True, False])
def test_batches_go_on_where_the_last_one_ended(includes_own: bool) -> None:
    rewards = torch.rand(9, generator=torch.Generator().manual_seed(0), **FLOAT64)
    whole = cumulative_means(rewards, includes_own=includes_own)
    parts, total, count = [], 0.0, 0
    for part in rewards.split(4):
        parts.append(cumulative_means(part, total, count, includes_own=includes_own))
        total, count = total + float(part.sum()), count + len(part)
    torch.testing.assert_close(torch.cat(parts), whole)


def test_a_baseline_of_earlier_rewards_does_not_depend_on_the_output() -> None:
    """So E[b grad log pi] = 0: the Jacobian db_n / dR_m is zero from the diagonal on."""
    rewards = torch.rand(5, **FLOAT64)
    jacobian: Any = torch.autograd.functional.jacobian(
        lambda scores: cumulative_means(scores, 2.0, 3), rewards
    )
    assert (jacobian.triu() == 0).all()
    assert (jacobian.tril(-1).sum(1) > 0)[1:].all()


def test_golden_factor_of_an_even_distribution_of_ratings() -> None:
    mean, std = rating_moments(torch.zeros(1, 10, **FLOAT64))
    assert float(mean) == pytest.approx(5.5)
    assert float(uncertainty_weighted(torch.ones(1, **FLOAT64), std)) == pytest.approx(
        0.258246, abs=1e-6
    )
    assert uncertainty_weighted(mean, torch.zeros(1)) == mean  # a sure reward counts in full


class Unsure(Worth):
    """What texts are worth, of which it is the less sure the longer they are."""

    def mean_and_std(self, texts: Texts) -> tuple[Rewards, Any]:
        """As NumPy's numbers, and as torch's that NumPy does not know."""
        stds = [len(text) / 2 for text in texts.outputs]
        return self(texts), torch.tensor(stds, dtype=torch.bfloat16)


def recorded(subject: Subject) -> tuple[list[Rollout], list[Tensor]]:
    """Two rollouts of the subject, and the gradients of its updates."""
    found: list[Rollout] = []
    collect = subject.rollouts.collect
    subject.rollouts.reward = Unsure(NoArgs())

    def kept(iteration: int, coefficient: float) -> Any:
        rollout, measured = collect(iteration, coefficient)
        found.append(rollout)
        return rollout, measured

    subject.rollouts.collect = kept  # type: ignore[method-assign]
    return found, [subject.step(iteration) for iteration in range(2)]


def published_loss(policy: Policy, rollout: Rollout, advantages: Tensor, whole: bool) -> Tensor:
    """[] mean over the batch of -A log pi, by the library's model alone."""
    width = max(map(len, rollout.prompts))
    pairs = list(zip(rollout.prompts, rollout.outputs, strict=True))
    longest = max(map(len, rollout.outputs))
    sums: list[Tensor] = []
    for prompt, output in pairs:
        pads = [policy.tokenizer.pad_token_id or 0]
        row = [*prompt, *output]
        start = len(prompt)
        if whole:  # as the library pads a batch; nothing tells the model so
            row = [*pads * (width - start), *row, *pads * (longest - len(output))]
            start = 1
        ids = torch.tensor([row])
        log_probs = policy.model(input_ids=ids[:, :-1]).logits.log_softmax(-1)
        of_tokens = log_probs.gather(-1, ids[:, 1:, None])[0, :, 0]
        sums.append(of_tokens[start - 1 :].sum())
    return -(advantages * torch.stack(sums)).mean()


SWITCHES = list(itertools.product([False, True], [False, True], ["none", REGULARIZED]))


@pytest.mark.parametrize(("whole", "own", "regularized"), SWITCHES)
def test_updates_are_those_of_the_equations(whole: bool, own: bool, regularized: Any) -> None:
    """Of each switch both sides, in the first and in a later batch."""
    args = PUBLISHED | {
        "log_prob_of": "sequence" if whole else "response", "baseline_includes_own": own,
        **(regularized if regularized != "none" else {}),
    }  # fmt: skip
    policy = Policy(causal_model(4), small_tokenizer("a", "b", "c"))
    subject = Subject(policy, "reinforce", prompts=["b", "a c a", "c"], num_envs=5,
                      kl={"coeff": 0.0}, **args)  # fmt: skip
    rollouts, gradients = recorded(subject)
    assert len({len(output) for output in rollouts[0].outputs}) > 1, "there is padding"
    seen: list[float] = []
    for rollout, gradient in zip(rollouts, gradients, strict=True):
        rewards = rollout.task_rewards.sum(1)
        baselines = []
        for reward in rewards.tolist():
            counted = [*seen, reward] if own or not seen else seen
            baselines.append(sum(counted) / len(counted))
            seen.append(reward)
        advantages = rewards - torch.tensor(baselines)
        if regularized != "none":
            decoded = policy.decode(rollout.outputs)
            advantages = advantages / (1 + torch.tensor([len(text) / 2 for text in decoded]))
        policy.model.zero_grad()
        published_loss(policy, rollout, advantages, whole).backward()
        grads = [weight.grad.flatten() for weight in policy.model.parameters()
                 if weight.grad is not None]  # fmt: skip
        torch.testing.assert_close(gradient, -torch.cat(grads), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("coefficient", [0.0, 0.3])
def test_the_share_of_penalties_is_theirs_alone(normalized: bool, coefficient: float) -> None:
    """Without a penalty there is none, whatever rewards are divided by; with one it stays."""
    policy = Policy(causal_model(4), small_tokenizer("a", "b", "c"))
    subject = Subject(policy, "reinforce", prompts=["b", "a c a"], num_envs=5, baseline="none",
                      kl={"coeff": coefficient, "norm_reward": normalized})  # fmt: skip
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    rollout, _ = subject.rollouts.collect(0, coefficient)
    found = subject.algorithm.update(rollout, coefficient, torch.Generator())
    share = found["update_share/kl_and_entropy"]
    assert share == 0 if coefficient == 0 else 0 < share < 1


def test_inputs_come_in_their_order_again_and_again() -> None:
    prompts = ["b", "a c a", "c"]
    policy = Policy(causal_model(4), small_tokenizer("a", "b", "c"))
    subject = Subject(policy, "reinforce", prompts=prompts, num_envs=5, **PUBLISHED)
    rollouts, _ = recorded(subject)
    found = [prompt for rollout in rollouts for prompt in rollout.prompts]
    assert found == [subject.prompts[row % 3] for row in range(10)]


def test_the_source_runs_with_dropout_and_goes_on_with_equal_results(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """All of the source's behaviour at once, against a reward model with a distribution."""
    model = save_model(tmp_path / "model", tokenizer)
    judge = save_classifier(tmp_path / "judge", num_labels=4)
    reward = {"model_name": str(judge), "output": "ratings", "repeat_prompt": True}
    lora = {"r": 2, "alpha": 4, "dropout": 0.5}

    def run(name: str, *, dropout: bool = True) -> dict[str, Any]:
        args = PUBLISHED | REGULARIZED | {"dropout": dropout}
        marker = {"marker": str(tmp_path / f"stop_{name}"), "signal": "SIGINT", "calls": 2}
        return reinforcement(
            model, "reinforce", experiment_name=name, reward_fn__id="learned_preference",
            reward_fn__args=reward, alg__policy__lora=lora, train_evaluation__n_iters=4,
            train_evaluation__eval_every=2,
            train_evaluation__metrics=[{"id": SIGNALLING, "args": marker}],
            **{f"alg__args__{key}": value for key, value in args.items()},
        )  # fmt: skip

    for name in ("whole", "plain"):  # these are never stopped
        (tmp_path / f"stop_{name}").touch()
    plan = write(workplace, run("stopped"), run("whole"), run("plain", dropout=False))
    assert [workplace.run_plan(plan).status for _ in range(2)] == [130, 0]
    folders = {read_json(f.config)["experiment_name"]: f for f in workplace.folders()}
    assert folders["stopped"].read_status()["attempt"] == 2
    stopped, whole, plain = (without_seconds(folders[n]) for n in ("stopped", "whole", "plain"))
    assert stopped == whole != plain
    norms = [row["reinforce/grad_norm"] for row in read_json_lines(folders["whole"].metrics)
             if "reinforce/grad_norm" in row]  # fmt: skip
    assert len(norms) == 4 and all(norms)


def refused(algorithm_changes: dict[str, Any]) -> str:
    keys = nested(reinforcement(Path("model"), "reinforce", **algorithm_changes))
    keys.pop("experiment")
    _, problems = resolve(FinetuneConfig, keys)
    (problem,) = map(str, problems)
    return problem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__args__baseline_includes_own": True}, "is for the baseline 'cumulative_mean'"),
        ({"alg__args__advantage_regularization": "one_over_one_plus_std"},
         f"the reward '{LETTERS}' has no standard deviation of its own; take"),
        ({"alg__args__log_prob_of": "sequence", "alg__policy__id":
          "seq2seq_lm_actor_critic_policy"}, "is for causal models"),
        ({"alg__args__dropout": True, "alg__policy__gradient_checkpointing": True},
         "does not go with 'policy.gradient_checkpointing'"),
    ],
)  # fmt: skip
def test_switches_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refused(changes)


def test_the_reward_model_reads_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompt and output once, or as the source did; and of a long text either end."""
    judge = str(save_classifier(tmp_path, num_labels=1))
    read: list[str] = []
    encode = Classifier.encode

    def recorded(classifier: Classifier, said: Sequence[str]) -> Any:
        read.extend(said)
        return encode(classifier, said)

    monkeypatch.setattr(Classifier, "encode", recorded)

    def reward(output: str, **args: Any) -> float:
        args |= {"model_name": judge, "output": "score", "prompt_prefix": "User: "}
        said = texts([output], prompts=["User: the dog"])
        (found,) = RewardConfig(id="learned_preference", args=args).build()(said)
        return float(found)

    whole = reward(" the cat sat on")
    reward(" the cat sat on", repeat_prompt=True)
    assert read == ["the dog the cat sat on", "the dog\nthe dog the cat sat on"]
    start = {"max_length": 6, "truncation_side": "right"}
    assert reward(" the cat sat on", **start) == reward(" the cat sat in", **start) != whole
    assert reward(" the cat sat on", max_length=6) != reward(" the cat sat in", max_length=6)


def test_prompts_of_preferences_get_a_template_around_them(tmp_path: Path) -> None:
    rows = [{"prompt": prompt, "chosen": "yes", "rejected": "no"} for prompt in ("short", "longer")]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = {"prompt_prefix": "User: ", "prompt_suffix": " Model:", "prompt_shorter_than": 6}
    task = TaskConfig(id="preferences", args={"path": str(file), **args}).build()
    assert [sample.prompt for sample in task.samples("train")] == ["User: short Model:"]


@pytest.mark.parametrize("plan", sorted(PLANS.glob("*.json")), ids=lambda path: path.stem)
def test_plans_of_the_notebooks_resolve(plan: Path, workplace: Workplace) -> None:
    outcome = workplace.run_plan(plan, "--dry_run")
    assert outcome.status == 0, outcome.err
    assert workplace.files() == []
