"""The keys of ``alg.policy``: the language model to finetune by rewards, and its critic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from common.config.base import COUNTS_AS_DEFAULT, IGNORED, INPUT_FILE_OR_ID, Config
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem
from grue import policies
from grue.models.config import ModelName, ModelType, Optimizer, Side, TrainedModelOptions
from grue.parts.custom import OrCustom
from grue.policies.generation_config import GenerationConfig

CRITICS = ("copy", "shared")
"""Critics that need no model of their own name."""


class PolicyArgs(Config):
    """The policy's own keys."""

    model_name: ModelName
    """The model to finetune."""
    apply_model_parallel: Annotated[bool, IGNORED, COUNTS_AS_DEFAULT] = True
    """Accepted for published files: a run has one device."""
    optimizer_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the optimizer beside the learning rate."""
    optimizer: Optimizer = "adamw"
    """Adam as PyTorch has it, or as TensorFlow does, which adds ``eps`` before the second moment's
    bias is corrected and so begins with smaller steps."""
    weight_decay: NonNegativeFloat = 1e-6
    """Weight decay of all weights but biases and layer norms."""
    prompt_truncation_side: Side = "left"
    """Where long prompts are cut in evaluations."""
    generation_kwargs: GenerationConfig = Field(default_factory=GenerationConfig)
    """How rollouts are generated."""
    query_prefix: str = ""
    """Text before each prompt that a causal policy reads and rewards and metrics do not; its tokens
    are found by themselves, whatever the prompt begins with."""
    query_suffix: str = ""
    """Text behind each prompt, likewise, such as ``"\\n\\nTL;DR:"``."""


class MaskablePolicyArgs(PolicyArgs):
    """A policy that samples from a masked vocabulary (NLPO)."""

    top_mask: PositiveFloat | None = None
    """The mask's p for ``learned_top_p``, its k otherwise."""
    mask_type: Literal["learned_top_k", "learned_top_p", "topk"] = "learned_top_k"
    """What the mask keeps: the mask model's best k or best p, or the policy's own best k."""
    target_update_iterations: PositiveInt = 1000
    """Iterations from one refresh of the mask model to the next."""
    min_tokens_to_keep: PositiveInt = 100
    """Fewest tokens that ``learned_top_p`` keeps."""

    def problems(self) -> Iterator[Problem]:
        """A mask without its size, or with one of the wrong kind."""
        yield from super().problems()
        size, by_share = self.top_mask, self.mask_type == "learned_top_p"
        if size is None:
            yield Problem("a maskable policy needs it: p for learned_top_p, k otherwise",
                          "top_mask")  # fmt: skip
        elif by_share and size > 1:
            yield Problem("is a probability for learned_top_p; give at most 1", "top_mask", size)
        elif not by_share and size != int(size):
            yield Problem(f"is a number of tokens for {self.mask_type}; give an integer",
                          "top_mask", size)  # fmt: skip


class PolicyConfig(TrainedModelOptions):
    """A language model with a critic."""

    if TYPE_CHECKING:  # what every subclass has, each of its own type and at its own place
        id: str
        args: Any

    critic: Annotated[str, INPUT_FILE_OR_ID] = "copy"
    """The critic's trunk: ``copy`` for a second copy of the model, ``shared`` for a head on the
    policy itself, otherwise the folder or hub id of another model, for example a smaller one."""
    critic_head: Literal["random", "zero"] = "random"
    """How the critic's last layer begins: with random weights and without bias, or with weights and
    bias of zero, so that all values are zero at first."""
    gradient_checkpointing: bool = False
    """Whether updates recompute activations instead of keeping them: less memory, more time."""

    @property
    def model_type(self) -> ModelType:
        """Whether the model continues its prompt or reads it through an encoder."""
        return "seq2seq" if "seq2seq" in self.id else "causal"


class CustomPolicy(PolicyConfig):
    """A policy outside the project, see `grue.parts.custom`."""

    @property
    def model_type(self) -> ModelType:
        """As its class says."""
        found: ModelType = policies.find(self.id).model_type
        return found


class CausalPolicy(PolicyConfig):
    """A causal language model with a critic."""

    id: Literal["causal_lm_actor_critic_policy"]
    """Which policy."""
    args: PolicyArgs
    """Its own keys."""


class Seq2SeqPolicy(PolicyConfig):
    """An encoder-decoder language model with a critic."""

    id: Literal["seq2seq_lm_actor_critic_policy"]
    """Which policy."""
    args: PolicyArgs
    """Its own keys."""


class MaskableCausalPolicy(PolicyConfig):
    """A causal language model with a critic and a mask."""

    id: Literal["maskable_causal_lm_actor_critic_policy"]
    """Which policy."""
    args: MaskablePolicyArgs
    """Its own keys."""


class MaskableSeq2SeqPolicy(PolicyConfig):
    """An encoder-decoder language model with a critic and a mask."""

    id: Literal["maskable_seq2seq_lm_actor_critic_policy"]
    """Which policy."""
    args: MaskablePolicyArgs
    """Its own keys."""


AnyPolicy = Annotated[
    CausalPolicy | Seq2SeqPolicy | MaskableCausalPolicy | MaskableSeq2SeqPolicy,
    Field(discriminator="id"),
    OrCustom(CustomPolicy, policies.find),
    SerializeAsAny(),
]
