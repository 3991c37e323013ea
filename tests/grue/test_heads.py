"""Logits in float32 behind a trunk of half width: what log-probabilities, ratios and KL keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from grue.metrics.metric import NoArgs
from grue.models.config import LoraConfig, MixedPrecision
from grue.models.heads import Float32Linear, head_in_float32
from grue.models.loading import with_adapters
from grue.policies.actor_critic import ActorCritic
from grue.policies.config import MaskablePolicyArgs
from grue.policies.decoding import loop as decoding
from grue.policies.decoding.sampling import draw
from grue.policies.distribution import TokenDistribution
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.policies.sequences import Sequences
from grue.policies.vocabulary_mask import Mask
from grue.rl.kl import kl_full
from grue.rollouts.collector import Rollouts
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from tests.grue.conftest import causal_model, encoder_decoder
from tests.grue.parts import Letters

HALF = ["bf16", "fp16"]
SHIFTS = [-35.0, -100.0]
"""Where the logits of published models lie."""
PROMPTS = ["the cat", "a dog runs in the park and", "numbers 1 2", "mat mat mat"]


def shifted(vocab_size: int, shift: float) -> Any:
    """A GPT-2 all of whose logits are moved by ``shift``, which no softmax sees."""
    model: Any = causal_model(vocab_size)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():  # the first entry of every last state is one
        model.transformer.ln_f.weight[0] = 0
        model.transformer.ln_f.bias[0] = 1
        model.lm_head.weight[:, 0] = shift
    return model


def actor_critic(
    model: Any, tokenizer: PreTrainedTokenizerFast, kind: MixedPrecision = "no"
) -> ActorCritic:
    policy = Policy(model, tokenizer)
    policy.mixed_precision = kind
    return ActorCritic(policy, None)


def sequences_of(policy: Policy) -> Sequences:
    outputs = [[5, 9, 7], [8], [6, 6, 6, 6], [11, 12]]
    return policy.sequences(policy.encode(PROMPTS, 20), outputs)


def exact_log_probs(both: ActorCritic, sequences: Sequences) -> Tensor:
    """[N, T, V] of the same states, by a head in float64."""
    with both.policy.autocast(), torch.no_grad():
        _, states = sequences.logits_and_states(both.policy.model, with_states=True)
    assert states is not None
    weight = both.policy.model.get_output_embeddings().weight
    return (states.double() @ weight.detach().double().T).log_softmax(-1)


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("shift", SHIFTS)
def test_log_probabilities_do_not_depend_on_where_logits_lie(
    tokenizer: PreTrainedTokenizerFast, shift: float, kind: MixedPrecision
) -> None:
    """Root mean square errors below 1e-4 nats; of logits in bfloat16 they are 0.07 and 0.16."""
    both = actor_critic(shifted(len(tokenizer), shift), tokenizer, kind)
    sequences = sequences_of(both.policy)
    expected = exact_log_probs(both, sequences)
    with torch.no_grad():
        for logits in (both.evaluate(sequences).logits, both.reference_logits(sequences)):
            error = TokenDistribution(logits).log_probs - expected
            assert error.square().mean().sqrt() < 1e-4


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_small_divergence_is_seen(tokenizer: PreTrainedTokenizerFast, shift: float) -> None:
    """Policies that differ in their heads alone, by 0.001 nats: KL and its estimate by tokens."""
    both = actor_critic(shifted(len(tokenizer), shift), tokenizer, "bf16")
    sequences = sequences_of(both.policy)
    mask = sequences.outputs.mask.bool()
    torch.manual_seed(0)
    head = both.policy.model.get_output_embeddings()
    before = exact_log_probs(both, sequences)[mask]
    with torch.no_grad():
        head.weight += 0.01 * torch.randn_like(head.weight)
        after = exact_log_probs(both, sequences)[mask]
        logits = both.evaluate(sequences).logits[mask]
        ref_logits = both.reference_logits(sequences)[mask]
    true_kl = kl_full(after, before).mean()
    assert 5e-4 < true_kl < 5e-3
    torch.testing.assert_close(kl_full(logits, ref_logits).mean().double(), true_kl,
                               rtol=0.01, atol=0)  # fmt: skip
    tokens = sequences.outputs.ids[mask]
    log_ratio = TokenDistribution(logits).log_prob(tokens) - TokenDistribution(ref_logits).log_prob(
        tokens
    )
    chosen = (after - before).gather(-1, tokens[:, None]).squeeze(-1)
    torch.testing.assert_close(log_ratio.double(), chosen, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shift", SHIFTS)
def test_ratios_begin_at_one(
    tokenizer: PreTrainedTokenizerFast, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In other company and with other padding than in the rollout, within 1e-4 nats.

    What was drawn, from the cache and one by one, differs by the trunk's rounding too, which is
    that of bfloat16; without AVX-512 that depends on the company.
    """
    is_steady = torch.backends.cpu.get_cpu_capability() == "AVX512"
    drawn = []

    def recorded(logits: Tensor, uniforms: Tensor, filters: Any) -> Tensor:
        assert logits.dtype == torch.float32
        token = draw(logits, uniforms, filters)
        drawn.append(TokenDistribution(logits).log_prob(token))
        return token

    monkeypatch.setattr(decoding, "draw", recorded)
    both = actor_critic(shifted(len(tokenizer), shift), tokenizer, "bf16")
    generation = GenerationConfig(do_sample=True, top_k=0, min_length=6, max_new_tokens=6)
    settings = RolloutSettings(generation, num_envs=8, num_tokens=1, whole_outputs=True,
                               minibatch_tokens=24)  # fmt: skip
    inputs = Inputs([Sample(text, text, ()) for text in PROMPTS], range(len(PROMPTS)))
    rollout, statistics = Rollouts(both, inputs, Letters(NoArgs()), settings, seed=0).collect(
        0, 1.0
    )
    assert statistics["rollout_info/kl_div_mean"] == 0
    assert torch.equal(rollout.rewards, rollout.task_rewards)
    for batch in rollout.minibatches(12, torch.Generator().manual_seed(0)):
        logits = batch.counted(both.evaluate(batch.sequences).logits)
        log_probs = TokenDistribution(logits).log_prob(batch.tokens).detach()
        torch.testing.assert_close(
            log_probs, batch.log_probs, rtol=0, atol=1e-4 if is_steady else 0.05
        )
    torch.testing.assert_close(rollout.log_probs, torch.stack(drawn, 1), rtol=0, atol=0.05)


def library_logits(kind: str, model: Any, states: Tensor) -> Tensor:
    """What each kind of model makes of its last states, in float64."""
    weight = model.get_output_embeddings().weight.detach().double()
    states = states.detach().double()
    match kind:
        case "t5_scaled":
            return states * model.config.d_model**-0.5 @ weight.T
        case "bart":
            return states @ weight.T + model.final_logits_bias
        case _:
            return states @ weight.T


def model_of(kind: str, vocab_size: int) -> Any:
    if kind == "gpt2":
        return causal_model(vocab_size)
    model: Any = encoder_decoder(kind.removesuffix("_scaled"), vocab_size)
    if kind == "t5_scaled":  # the second name is that of later versions of the library
        model.config.tie_word_embeddings = model.config.scale_decoder_outputs = True
    if kind == "bart":
        model.final_logits_bias.normal_()
    return model


@pytest.mark.parametrize("kind", ["gpt2", "t5", "t5_scaled", "bart"])
def test_what_a_model_does_around_its_head_stays(
    tokenizer: PreTrainedTokenizerFast, kind: str
) -> None:
    both = actor_critic(model_of(kind, len(tokenizer)), tokenizer, "bf16")
    model, sequences = both.policy.model, sequences_of(both.policy)
    with both.policy.autocast(), torch.no_grad():
        logits, states = sequences.logits_and_states(model, with_states=True)
    assert states is not None and logits.dtype == torch.float32
    torch.testing.assert_close(
        logits.double(), library_logits(kind, model, states), rtol=0, atol=1e-4
    )


@pytest.mark.filterwarnings("error:.is_gradient_checkpointing. is deprecated")
def test_adapters_are_made_without_a_warning_that_is_not_the_users() -> None:
    with_adapters(causal_model(4), LoraConfig(r=2), "CAUSAL_LM", dropout=False, key="lora")


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")  # peft's, of a head beside Conv1D layers
def test_adapters_of_the_head_compute_in_float32_too(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    lora = LoraConfig(r=2, alpha=4, target_modules=("c_attn", "lm_head"))
    model = with_adapters(shifted(len(tokenizer), -100.0), lora, "CAUSAL_LM", dropout=False,
                          key="lora")  # fmt: skip
    adapter = model.get_output_embeddings()
    with torch.no_grad():
        for weight in (adapter.lora_A["default"].weight, adapter.lora_B["default"].weight):
            weight.normal_(std=0.3)
    both = actor_critic(model, tokenizer, "bf16")
    sequences = sequences_of(both.policy)
    with both.policy.autocast(), torch.no_grad():
        logits, states = sequences.logits_and_states(model, with_states=True)
    assert states is not None
    weight = adapter.base_layer.weight + adapter.get_delta_weight("default")
    expected = states.double() @ weight.double().T
    torch.testing.assert_close(logits.double(), expected, rtol=0, atol=1e-3)
    reference = TokenDistribution(both.reference_logits(sequences)).log_probs
    assert (reference - logits.log_softmax(-1)).abs().max() > 0.1
    merged = model.merge_and_unload().get_output_embeddings()
    torch.testing.assert_close(merged.weight, adapter.base_layer.weight)


def test_the_mask_has_it_from_before(tokenizer: PreTrainedTokenizerFast) -> None:
    policy = Policy(causal_model(len(tokenizer)), tokenizer)
    args = MaskablePolicyArgs(model_name="m", mask_type="learned_top_p", top_mask=0.9)
    policy.mask = Mask(policy.model, args, tokenizer.all_special_ids)
    ActorCritic(policy, None)
    assert isinstance(policy.mask.model.get_output_embeddings(), Float32Linear)


def test_weights_of_half_width_are_read_in_float32(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = shifted(len(tokenizer), -100.0).bfloat16()
    both = actor_critic(model, tokenizer)
    sequences = sequences_of(both.policy)
    found = TokenDistribution(both.evaluate(sequences).logits).log_probs
    error = found.detach() - exact_log_probs(both, sequences)
    assert error.square().mean().sqrt() < 1e-4
    found.sum().backward()
    head = model.get_output_embeddings()
    assert head.weight.dtype == head.weight.grad.dtype == torch.bfloat16
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype="auto")
    assert torch.equal(again.lm_head.weight, head.weight)


def test_in_float32_nothing_changes(tokenizer: PreTrainedTokenizerFast) -> None:
    model: Any = causal_model(len(tokenizer))
    ids = torch.arange(12).view(2, 6)
    before, names = model(ids).logits, list(model.state_dict())
    head_in_float32(model)
    assert torch.equal(model(ids).logits, before)
    assert list(model.state_dict()) == names
    assert model.lm_head.weight is model.transformer.wte.weight
