"""The arithmetic of memory against what real tensors take."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from common.experiment import EXPERIMENTS
from common.machine.memory import Moment, Need
from common.machine.memory_trace import MemoryTrace, as_on_a_gpu, held, state_of
from common.plan.load import load_plan
from common.runner import memory_check as memory
from common.training import attention_masks
from common.training.optimizers import AdamW, RMSprop
from grue.algorithms import find
from grue.experiments.finetune.build_models import make_actor_critic
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.memory import training
from grue.experiments.memory.needs import cache_bytes, needs
from grue.models.config import ModelOptions
from grue.models.loading import load_model, recompute_activations
from grue.policies import actor_critic as actor_critic_module
from grue.policies.policy import Policy
from grue.policies.score_products import score_products
from grue.policies.sequences import Sequences
from grue.rollouts.batch import Rollout
from tests.conftest import Workplace
from tests.grue.conftest import encoder_decoder, save_model, write
from tests.grue.test_extract import extraction
from tests.grue.test_reinforcement import SAMPLED, reinforcement

MOST = 1.6
"""How many times the memory that is really taken an estimate may be."""
SIZES = ((2, 32, 3, 12, 8), (4, 64, 8, 40, 20))
"""Layers, width, rows, tokens of a prompt and of an output."""


def gpt2(layers: int, width: int) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=300, n_positions=512, n_layer=layers, n_embd=width, n_head=2, bos_token_id=0,
        eos_token_id=0, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
    )).eval()  # fmt: skip


def t5(layers: int, width: int) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration(T5Config(
        vocab_size=300, d_model=width, d_kv=width // 2, d_ff=4 * width, num_layers=layers,
        num_heads=2, decoder_start_token_id=0, pad_token_id=0, eos_token_id=0, dropout_rate=0.0,
    )).eval()  # fmt: skip


Make = Callable[[int, int], nn.Module]
KINDS = {"gpt2": gpt2, "t5": t5}


def sequences_of(policy: Policy, rows: int, prompt: int, new: int) -> Sequences:
    """The first prompt is shorter, so that there is padding to hide."""
    prompts = [[1] * (prompt - 1), *([[1] * prompt] * (rows - 1))]
    return policy.sequences(prompts, [[1] * new] * rows)


def kept_on_the_cpu(policy: Policy, sequences: Sequences, kernel: SDPBackend) -> int:
    """Bytes that autograd keeps of a forward pass, beside weights and inputs."""
    given = [*policy.model.parameters(), *policy.model.buffers()]
    for part in (sequences.prompts, sequences.outputs):
        given += [part.ids, part.mask]
    known = {tensor.untyped_storage()._cdata for tensor in given}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with sdpa_kernel(kernel), hooks:
        logits = sequences.logits(policy.model)
    del logits
    return sum(storage.nbytes() for storage in kept.values())


@pytest.fixture
def masks_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the CPU make the masks of attention as a GPU makes them."""
    monkeypatch.setattr(attention_masks, "_is_on_cpu", lambda options: False)


@pytest.mark.usefixtures("masks_of_gpus")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_activations_bound_what_autograd_keeps(
    kind: str, size: tuple[int, ...], tokenizer: PreTrainedTokenizerFast
) -> None:
    layers, width, rows, prompt, new = size
    real = Policy(KINDS[kind](layers, width), tokenizer)
    sequences = sequences_of(real, rows, prompt, new)
    kept = kept_on_the_cpu(real, sequences, SDPBackend.MATH)
    with torch.device("meta"):
        without = Policy(KINDS[kind](layers, width), tokenizer, "meta")
        sequences = sequences_of(without, rows, prompt, new)
    with MemoryTrace() as trace:
        logits = sequences.logits(without.model)
        estimate = trace.live() - logits.untyped_storage().nbytes()
    assert 1.0 <= estimate / kept <= MOST


@pytest.mark.parametrize("size", [(2, 32, 2, 280, 20), (3, 64, 3, 400, 50)])
def test_attention_of_gpus_keeps_no_probabilities(
    size: tuple[int, ...], tokenizer: PreTrainedTokenizerFast
) -> None:
    """The CPU has such a kernel too, if it is told to take it."""
    layers, width, rows, prompt, new = size
    real = Policy(gpt2(layers, width), tokenizer)
    sequences = sequences_of(real, rows, prompt, new)
    kept = kept_on_the_cpu(real, sequences, SDPBackend.FLASH_ATTENTION)
    with torch.device("meta"):
        without = Policy(gpt2(layers, width), tokenizer, "meta")
        sequences = sequences_of(without, rows, prompt, new)
    with as_on_a_gpu() as trace:
        logits = sequences.logits(without.model)
        estimate = trace.live() - logits.untyped_storage().nbytes()
    assert 1.0 <= estimate / kept <= 1.01


@pytest.mark.parametrize("kind", KINDS)
def test_recomputed_activations_are_not_kept(kind: str, tokenizer: PreTrainedTokenizerFast) -> None:
    peaks = []
    for recompute in (False, True):
        with torch.device("meta"):
            policy = Policy(KINDS[kind](8, 64), tokenizer, "meta")
            sequences = sequences_of(policy, 16, 40, 20)
        if recompute:
            recompute_activations(policy.model)
        policy.model.train()
        with as_on_a_gpu() as trace:
            sequences.logits(policy.model).sum().backward()
        peaks.append(trace.peak)
    assert peaks[1] < 0.6 * peaks[0]


@pytest.mark.usefixtures("masks_of_gpus")
@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_of_shapes_is_that_of_numbers(
    kind: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    peaks = []
    for device in ("cpu", "meta"):
        with torch.device(device):
            policy = Policy(KINDS[kind](2, 32), tokenizer, device)
            sequences = sequences_of(policy, 4, 12, 8)
        with sdpa_kernel(SDPBackend.MATH), MemoryTrace() as trace:
            sequences.logits(policy.model).square().mean().backward()
        assert trace.live() == sum(w.nbytes for w in policy.model.parameters())  # their gradients
        peaks.append(trace.peak)
    assert 1.0 <= peaks[1] / peaks[0] <= 1.1


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bart"])
def test_the_cache_is_as_large_as_the_real_one(
    kind: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows, prompt, new = 3, 7, 5
    model = gpt2(2, 32) if kind == "gpt2" else encoder_decoder(kind, 300)
    ids = torch.ones(rows, prompt, dtype=torch.long)
    after = torch.ones(rows, new, dtype=torch.long)
    with torch.no_grad():
        if kind == "gpt2":
            cache = model(input_ids=torch.cat([ids, after], 1), use_cache=True).past_key_values
            parts = [cache]
        else:
            cache = model(input_ids=ids, decoder_input_ids=after, use_cache=True).past_key_values
            parts = [cache.self_attention_cache, cache.cross_attention_cache]
    real = sum(layer.keys.nbytes + layer.values.nbytes for part in parts for layer in part.layers)
    with torch.device("meta"):
        policy = Policy(copy.deepcopy(model), tokenizer, "meta")
        assert cache_bytes(policy, policy.model, rows, prompt, new) == real
    layers, width = (1, 32) if kind == "bart" else (2, 32)
    tokens = prompt + new
    assert real == rows * tokens * layers * 2 * width * 4


def need_of(plan: Path) -> Need | None:
    loaded = load_plan(plan, EXPERIMENTS)
    (need,) = needs(loaded.runs)
    return need


def sizes_of(moment: Moment) -> dict[str, int]:
    return {term.name: term.size for term in moment.terms}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def update_of(workplace: Workplace, configuration: dict[str, Any], **document: Any) -> Moment:
    need = need_of(write(workplace, configuration, **document))
    assert need is not None
    (update,) = [moment for moment in need if moment.name == "an update"]
    return update


FULL = SAMPLED | {"ignore_eos": True}
"""Outputs of the greatest length."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alg__args__ent_coef": 0.1},
        {"alg__kl_div": {"coeff": 0.1, "placement": "loss"}},
        {"alg__policy__critic": "shared"},
        {"alg__policy__lora": {"r": 4}},
        {"alg__policy__dtype": "bfloat16"},
        {"alg__policy__gradient_checkpointing": True},
        {"alg__policy__id": "maskable_causal_lm_actor_critic_policy", "alg__id": "nlpo",
         "alg__policy__args__top_mask": 10},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)  # fmt: skip
@pytest.mark.usefixtures("plain_attention")
def test_an_estimate_bounds_a_real_update(
    workplace: Workplace, model: Path, tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any]
) -> None:
    """Of PPO, whose minibatches have 32 tokens: the real ones are a few more than 5 outputs."""
    keys = {"env__args": {"max_prompt_length": 10, "max_episode_length": 6},
            "alg__policy__args__generation_kwargs": FULL}  # fmt: skip
    plan = write(workplace, reinforcement(model, **(keys | changes)))
    config: Any = load_plan(plan, EXPERIMENTS).runs[0].config
    update = update_of(workplace, reinforcement(model, **(keys | changes)))
    estimated = sizes_of(update)

    assert isinstance(config, FinetuneConfig)
    alg: Any = config.alg
    loaded = load_model(str(model), "causal", alg.policy, seed=0, dropout=False)
    policy = Policy(loaded, tokenizer)
    policy.mixed_precision = alg.policy.mixed_precision
    actor_critic = make_actor_critic(policy, alg, seed=0, with_critic=True)
    algorithm = find(alg.id)(actor_critic, alg)
    rollout = full_rollout(policy, masked="maskable" in alg.policy.id)
    generator = torch.Generator().manual_seed(0)
    with actor_critic.updating():
        algorithm.update(rollout, 0.1, generator)  # so that there is the optimiser's state
        with MemoryTrace() as trace:
            algorithm.update(rollout, 0.1, generator)

    adapters = hasattr(policy.model, "disable_adapter")
    masks = [policy.mask.model] if policy.mask else []
    modules = [policy.model, actor_critic.critic, *masks]
    assert estimated["weights"] == held(*modules) + (0 if adapters else held(policy.model))
    assert estimated["optimiser"] == state_of(algorithm.optimizer)
    assert estimated["gradients"] == sum(weight.nbytes for weight in actor_critic.parameters())
    rest = sum(estimated.values()) - estimated["weights"] - estimated["optimiser"]
    assert 1.0 <= rest / trace.peak <= MOST
    assert update.least <= estimated["weights"] + estimated["optimiser"] + trace.peak


def full_rollout(policy: Policy, *, masked: bool) -> Rollout:
    """As many outputs of 6 tokens as a rollout of 8 environments with 16 tokens each has."""
    outputs = [[1 + row % 7] * 6 for row in range(24)]
    mask = torch.ones(24, 6, dtype=torch.bool)
    zero, varied = torch.zeros(24, 6), torch.linspace(-1, 1, 144).view(24, 6)
    width = -(-int(policy.model.config.vocab_size) // 8)
    return Rollout(
        prompts=[[1] * 10] * 24, outputs=outputs, response_mask=mask, num_used=mask.sum(1),
        sequences=policy.sequences([[1] * 10] * 24, outputs), longest=6, log_probs=zero - 5,
        ref_log_probs=zero - 5, kl=zero, values=zero, task_rewards=varied, rewards=varied,
        advantages=varied, kl_advantages=zero, task_advantages=varied, returns=varied,
        vocab_mask_bits=torch.full((24, 6, width), 255, dtype=torch.uint8) if masked else None,
    )  # fmt: skip


def test_the_weights_of_a_plan_are_those_of_the_models(workplace: Workplace, model: Path) -> None:
    real = AutoModelForCausalLM.from_pretrained(model)
    size = sum(weight.nbytes for weight in real.parameters())
    head = 4 * real.config.n_embd
    update = update_of(workplace, reinforcement(model))
    assert sizes_of(update)["weights"] == 3 * size + head  # policy, critic, reference
    supervised = {
        **reinforcement(model), "alg.id": "supervised", "alg.model_type": "causal",
        "alg.model_name": str(model), "alg.generation_kwargs": SAMPLED,
        "alg.training_args": {"per_device_train_batch_size": 4},
    }  # fmt: skip
    for key in [key for key in supervised if key.startswith(("alg.policy", "alg.args", "alg.kl"))]:
        del supervised[key]
    for key in ("reward_fn.id", "env.n_envs", "env.args"):
        del supervised[key]
    update = update_of(workplace, supervised)
    assert sizes_of(update)["weights"] == size
    assert sizes_of(update)["gradients"] == size
    assert sizes_of(update)["optimiser"] >= 2 * size
    assert sizes_of(update)["logits of a minibatch"] == 4 * 4 * 64 * real.config.vocab_size


@pytest.mark.parametrize("algorithm", ["a2c", "trpo", "reinforce", "grpo", "ppo_human_preferences"])
def test_every_algorithm_has_an_estimate(workplace: Workplace, model: Path, algorithm: str) -> None:
    update = update_of(workplace, reinforcement(model, algorithm, env__n_envs=32))
    real = AutoModelForCausalLM.from_pretrained(model)
    size = sum(weight.nbytes for weight in real.parameters())
    head = 4 * real.config.n_embd
    sizes = sizes_of(update)
    without_critic = algorithm in ("reinforce", "grpo")
    assert sizes["weights"] == 2 * size + (0 if without_critic else size + head)
    trained = size if without_critic else 2 * size + head
    if algorithm == "trpo":
        assert sizes["vectors of the natural gradient"] == 7 * size
        assert "gradients" not in sizes
    else:
        assert sizes["gradients"] >= trained - head - 4
        moments = {"a2c": 1}.get(algorithm, 2)
        assert moments * trained <= sizes["optimiser"] <= moments * trained + 1000


@pytest.fixture
def with_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes losses need logits, as those of models do that change them after the output layer."""
    monkeypatch.setattr(actor_critic_module, "product_head", lambda model: None)


def test_updates_without_logits_count_none(workplace: Workplace, model: Path) -> None:
    for algorithm in ("ppo", "reinforce", "grpo"):
        sizes = sizes_of(update_of(workplace, reinforcement(model, algorithm)))
        assert "logits of a minibatch" not in sizes
    assert "logits of a minibatch" in sizes_of(update_of(workplace, reinforcement(model, "trpo")))


@pytest.mark.usefixtures("with_logits")
def test_ranks_share_a_minibatch(workplace: Workplace, model: Path) -> None:
    keys = {"alg__args__n_steps": 512, "alg__args__batch_size": 384}
    alone = update_of(workplace, reinforcement(model, **keys))
    shared = update_of(workplace, reinforcement(model, **keys), gpus_per_run=2)
    one, two = (sizes_of(update)["logits of a minibatch"] for update in (alone, shared))
    assert two == one / 2
    assert sizes_of(alone)["weights"] == sizes_of(shared)["weights"]


def fewest_of(update: Moment) -> int:
    (found,) = [term.least for term in update.terms if term.name == "logits of a minibatch"]
    return found


@pytest.mark.usefixtures("with_logits")
def test_only_tokens_that_must_come_refuse_a_run(workplace: Workplace, model: Path) -> None:
    per_token = 4 * AutoModelForCausalLM.from_pretrained(model).config.vocab_size
    human = {"env__n_envs": 32, "alg__args__nminibatches": 4}
    for algorithm, changes, tokens in (
        ("ppo", {}, 32),
        ("ppo", {"alg__args__batch_size": 64}, 64),
        ("reinforce", {}, 8 * 4),
        ("grpo", {"alg__args__micro_batch_size": 16}, 16),
        ("reinforce", {"alg__policy__args__generation_kwargs": FULL}, 8 * 4 * 6),
        ("ppo_human_preferences", human, 8),
        ("ppo_human_preferences", human | {"alg__policy__args__generation_kwargs": FULL}, 8 * 6),
        ("a2c", {}, 1),
    ):
        if changes.get("alg__policy__args__generation_kwargs"):
            changes = changes | {"env__args": {"max_prompt_length": 10, "max_episode_length": 6}}
        update = update_of(workplace, reinforcement(model, algorithm, **changes))
        assert fewest_of(update) == tokens * per_token, (algorithm, changes)


@pytest.mark.usefixtures("with_logits")
def test_whole_sequences_have_logits_at_every_token(workplace: Workplace, model: Path) -> None:
    response, sequence = (
        sizes_of(update_of(workplace, reinforcement(model, "reinforce", alg__args__log_prob_of=of)))
        for of in ("response", "sequence")
    )
    name = "logits of a minibatch"
    assert sequence[name] / response[name] == (10 + 6 - 1) / 6


def test_mixed_precision_adds_narrow_copies(workplace: Workplace, model: Path) -> None:
    plain = sizes_of(update_of(workplace, reinforcement(model)))
    mixed = sizes_of(
        update_of(workplace, reinforcement(model, alg__policy__mixed_precision="bf16"))
    )
    assert mixed["narrow copies of weights"] == mixed["gradients"] // 2
    assert plain == {name: size for name, size in mixed.items() if "copies" not in name}


def test_beams_are_counted_whole_and_samples_as_one_row(workplace: Workplace, model: Path) -> None:
    beams = {"num_beams": 4, "max_new_tokens": 6}
    sampled, searched = (
        need_of(
            write(workplace, reinforcement(model, train_evaluation__generation_kwargs=settings))
        )
        for settings in (SAMPLED, beams)
    )
    assert sampled is not None and searched is not None
    cache = "cache of keys and values"
    assert sizes_of(searched[-1])[cache] == 8 * 4 * sizes_of(sampled[-1])[cache]
    assert sampled[-1].least == searched[-1].least  # rows never refuse a run


@pytest.mark.usefixtures("plain_attention")
@pytest.mark.parametrize("num_samples", [4, 40])
def test_gradients_of_outputs_take_what_is_estimated(
    workplace: Workplace, model: Path, num_samples: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    keys = {"evaluation__num_samples_per_input": num_samples, "tokenizer__max_length": 56}
    plan = write(workplace, extraction(model, evaluation__gradients=True, **keys))
    need = need_of(plan)
    assert need is not None
    sampling, gradient = need
    estimated = sizes_of(gradient)
    policy = Policy(load_model(str(model), "causal", ModelOptions(), seed=0), tokenizer)
    weights = sum(weight.nbytes for weight in policy.model.parameters())
    assert estimated["weights"] == sizes_of(sampling)["weights"] >= weights
    assert estimated["gradients"] == weights
    rest = sum(estimated.values()) - estimated["weights"]
    held_scores = estimated["scores of outputs"] // weights - 1
    assert (held_scores == num_samples) == (num_samples == 4)

    outputs = [[1 + row % 7, 1 + row // 7, 1, 1, 1, 1] for row in range(num_samples)]
    with MemoryTrace() as trace:
        score_products(policy, [1] * 56, outputs, 1.0, num_held=held_scores)
    assert 1.0 <= rest / trace.peak <= MOST
    assert estimated["weights"] + weights * 2 == gradient.least
    assert need_of(write(workplace, extraction(model, **keys))) == [sampling]


def test_what_is_not_at_hand_is_not_estimated(workplace: Workplace, model: Path) -> None:
    assert need_of(write(workplace, reinforcement(Path("nobody/nothing")))) is None
    own = reinforcement(model, alg__id="ppo", alg__policy__critic="nobody/nothing")
    assert need_of(write(workplace, own)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__args__n_steps": 2048, "alg__args__batch_size": 16384},
         "'alg.args.batch_size' = 16384: an update needs at least 0.0 GiB (logits of a minibatch"),
        ({}, "'alg.policy.lora' = null: an update needs at least 0.0 GiB (optimiser"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("with_logits")
def test_a_run_that_cannot_fit_is_refused_by_its_key(
    workplace: Workplace,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    message: str,
) -> None:
    small = 2**20 // 4
    monkeypatch.setattr(memory, "total_memory", lambda ids: dict.fromkeys(ids, small))
    monkeypatch.setattr("common.runner.preflight.gpus_absent", lambda ids: None)
    plan = write(workplace, reinforcement(model, **changes), gpu_ids_pool=[0])
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert message in outcome.err
    assert "train adapters ('alg.policy.lora')" in outcome.err
    assert workplace.folders() == []


@pytest.mark.parametrize("kind", [AdamW, RMSprop])
def test_an_optimizer_of_shapes_reads_its_steps_as_one_of_numbers(
    kind: type[torch.optim.Optimizer],
) -> None:
    """They are on the CPU, where some versions of torch read them though weights are shapes."""
    with torch.device("meta"):
        layer = nn.Linear(2, 2)
        optimizer = kind(layer.parameters(), lr=0.1)  # type: ignore[call-arg]
        training.update(
            held(layer), layer, optimizer, lambda: layer(torch.zeros(1, 2)).sum().backward(),
            training.Keys("alg.model_name", None, "env.n_envs", "lower it"),
        )  # fmt: skip
    states = [optimizer.state[weight] for weight in layer.parameters()]
    assert {state["step"].device.type for state in states} == {"cpu"}
