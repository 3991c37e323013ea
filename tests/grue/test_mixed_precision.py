"""Mixed precision: near float32, ratios of one, scaled losses, skipped steps, exact resumption."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.run.folder import RunFolder, read_json_lines
from grue.experiments.reward_model.config import RewardModelAlg
from grue.experiments.reward_model.module import load_module
from grue.experiments.reward_model.objectives import make_objective
from grue.models.config import MixedPrecision
from grue.models.precision import MixedPrecisionStepper, autocast
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.distribution import TokenDistribution
from grue.policies.policy import Policy
from grue.supervised.arguments import training_arguments
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import causal_model, save_model, write
from tests.grue.stopping import stopped_and_whole
from tests.grue.test_reinforcement import reinforcement
from tests.grue.test_reward_model import configuration, reference, write_data

HALF = ["bf16", "fp16"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), tokenizer)


def actor_critic(tokenizer: PreTrainedTokenizerFast, kind: MixedPrecision) -> ActorCritic:
    policy = Policy(causal_model(len(tokenizer)), tokenizer)
    policy.mixed_precision = kind
    return ActorCritic(policy, make_critic(policy, "copy", seed=0))


@pytest.mark.parametrize("kind", HALF)
def test_log_probabilities_are_near_those_in_float32(
    tokenizer: PreTrainedTokenizerFast, kind: MixedPrecision
) -> None:
    prompts, outputs = [[5, 6, 7], [8]], [[9, 10, 11, 12], [13, 14]]
    found, gradients = [], []
    for precision in ("no", kind):
        both = actor_critic(tokenizer, precision)
        sequences = both.policy.sequences(prompts, outputs)
        evaluation = both.evaluate(sequences)
        assert evaluation.logits.dtype == evaluation.values.dtype == torch.float32
        mask = sequences.outputs.mask.bool()
        log_probs = TokenDistribution(evaluation.logits).log_prob(sequences.outputs.ids)[mask]
        (log_probs.sum() + evaluation.values[mask].sum()).backward()
        found.append(torch.cat([log_probs, evaluation.values[mask]]).detach())
        gradients.append(torch.cat([p.grad.flatten() for p in both.parameters()
                                    if p.grad is not None]))  # fmt: skip
        again = TokenDistribution(both.evaluate(sequences).logits)
        repeated = again.log_prob(sequences.outputs.ids)[mask]
        assert torch.equal(repeated.detach(), log_probs.detach())  # ratios begin at 1
        reference_logits = both.reference_logits(sequences)
        assert torch.equal(reference_logits, evaluation.logits.detach())
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0.1)
    assert not torch.equal(found[0], found[1])
    assert gradients[1].isfinite().all()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_a_step_that_overflows_is_left_out_and_the_scale_halved() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    stepper = MixedPrecisionStepper("fp16", torch.device("cpu"))
    scale = 2.0**16
    stepper.backward((weight * torch.tensor([1e38, 1.0])).sum())
    norm = stepper.step(optimizer, 1.0)
    assert not norm.isfinite()
    assert weight.tolist() == [1.0, 2.0]
    report = {"mixed_precision/loss_scale": scale / 2, "mixed_precision/skipped_steps": 1.0}
    assert stepper.report() == report
    stepper.backward(3 * weight[0] + 4 * weight[1])
    assert stepper.step(optimizer, 1.0) == pytest.approx(5.0)  # not of scaled gradients
    assert weight.tolist() == pytest.approx([0.9, 1.9], abs=0.01)
    assert stepper.report()["mixed_precision/skipped_steps"] == 0

    other = MixedPrecisionStepper("fp16", torch.device("cpu"))
    other.load_state_dict(stepper.state_dict())
    assert other.state_dict() == stepper.state_dict()
    assert other.report()["mixed_precision/loss_scale"] == scale / 2


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_the_first_iteration_is_near_that_in_float32(
    workplace: Workplace, model: Path, algorithm: str, kind: str
) -> None:
    short = {"train_evaluation__n_iters": 2, "train_evaluation__eval_every": 2}
    if algorithm == "ppo":
        short |= {"alg__args__n_epochs": 1, "alg__args__batch_size": 128}
    runs = [
        reinforcement(model, algorithm, experiment_name=f"run_{precision}",
                      alg__policy__mixed_precision=precision, **short)
        for precision in ("no", kind)
    ]  # fmt: skip
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    full, half = sorted(workplace.folders(), key=lambda f: f"run_{kind}" in f.path.name)
    row, other = (_first_iteration(folder) for folder in (full, half))
    assert other["rollout_info/ep_rew"] == pytest.approx(row["rollout_info/ep_rew"], abs=0.1)
    assert other["rollout_info/kl_div_mean"] == 0
    if algorithm == "ppo":
        assert other["ppo/approx_kl"] == pytest.approx(0, abs=1e-4)
    assert ("mixed_precision/loss_scale" in other) == (kind == "fp16")
    for name, weight in torch.load(half.checkpoints / "last.pt")["weights"].items():
        assert weight.dtype == torch.float32, name
        assert weight.isfinite().all(), name


def _first_iteration(folder: RunFolder) -> dict[str, Any]:
    return next(row for row in read_json_lines(folder.metrics) if "rollout_info/ep_rew" in row)


@pytest.mark.slow
def test_a_stopped_run_in_float16_ends_with_equal_results(
    workplace: Workplace, model: Path
) -> None:
    make = partial(reinforcement, model, "ppo", alg__policy__mixed_precision="fp16",
                   alg__args__ent_coef=1000.0)  # fmt: skip
    _, whole = stopped_and_whole(workplace, make)
    rows = [row for row in without_seconds(whole) if "mixed_precision/loss_scale" in row]
    assert rows[0]["mixed_precision/skipped_steps"] > 0
    assert rows[-1]["mixed_precision/loss_scale"] < 2**16
    assert rows[-1]["mixed_precision/skipped_steps"] == 0


@pytest.mark.parametrize("half", ["bf16", pytest.param("fp16", marks=pytest.mark.slow)])
def test_a_reward_model_learns_too(workplace: Workplace, model: Path, half: str) -> None:
    data = write_data(workplace.path / "data", 4, train=200)
    runs = []
    for kind in ("no", half):
        keys = configuration(model, data, "best_of_n", alg={"mixed_precision": kind},
                             normalize=reference(model))  # fmt: skip
        runs.append({"experiment": "reward_model", "experiment_name": f"run_{kind}", **keys})
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    folders = sorted(workplace.folders(), key=lambda f: f"run_{half}" in f.path.name)
    rows, others = (read_json_lines(folder.metrics) for folder in folders)
    assert others[0]["val/loss"] == pytest.approx(rows[0]["val/loss"], rel=0.02)
    assert others[0]["val/loss"] != rows[0]["val/loss"]
    assert others[-1]["val/accuracy"] > 0.6


def test_scores_of_a_reward_model_are_in_float32(
    workplace: Workplace, model: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    alg = RewardModelAlg.model_validate(
        {"model_name": str(model), "loss": {"id": "best_of_n"}, "lora": {"r": 2, "alpha": 4}}
    )
    module = load_module(alg, tokenizer, make_objective(alg.loss), seed=0)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    scores = [layer for name, layer in module.named_modules()
              if ".score." in name and isinstance(layer, torch.nn.Linear)]  # fmt: skip
    for score in scores:
        score.register_forward_hook(lambda layer, given, made: seen.append((
            given[0].double() @ layer.weight.double().T, made.double())))  # fmt: skip
    with autocast("bf16", torch.device("cpu")):
        module.model(torch.arange(2, 14).view(2, 6))
    ((expected, found),) = seen  # that which is trained, not the one that it is a copy of
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_batches_go_to_a_gpu_while_the_host_goes_on() -> None:
    """Pinned, and without a wait; on a CPU neither, of which the Trainer would warn."""
    for device, expected in (("cuda", True), ("cpu", False)):
        found = training_arguments({}, Path("unused"), seed=0, device=torch.device(device))
        assert found.accelerator_config.non_blocking == expected
        assert found.dataloader_pin_memory == expected


@pytest.mark.parametrize(
    ("algorithm", "keys", "message"),
    [
        ("trpo", {}, "'alg.policy.mixed_precision' = 'bf16': 'trpo' computes in float32"),
        ("ppo", {"alg__policy__dtype": "bfloat16"},
         "'alg.policy.mixed_precision' = 'bf16': needs 'dtype' = 'float32'"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_refused(
    workplace: Workplace, model: Path, algorithm: str, keys: dict[str, Any], message: str
) -> None:
    run = reinforcement(model, algorithm, alg__policy__mixed_precision="bf16", **keys)
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert message in outcome.err


@pytest.mark.parametrize("algorithm", ["ppo", "rloo", "reinforce"])
def test_policies_with_half_width_weights_are_trained(
    workplace: Workplace, model: Path, algorithm: str
) -> None:
    short = {"train_evaluation__n_iters": 2, "train_evaluation__eval_every": 2}
    run = reinforcement(model, algorithm, alg__policy__dtype="bfloat16", **short)
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 0, outcome.err


def test_two_ways_to_ask_for_it_are_one_too_many(workplace: Workplace, model: Path) -> None:
    data = write_data(workplace.path / "data", 4, train=8)
    keys = configuration(model, data, "best_of_n")
    keys["alg"] |= {"mixed_precision": "bf16"}
    keys["alg"]["training_args"]["bf16"] = True
    outcome = workplace.run_plan(write(workplace, {"experiment": "reward_model", **keys}))
    assert outcome.status == 2
    assert "'alg.training_args.bf16' = true: contradicts 'mixed_precision'" in outcome.err
