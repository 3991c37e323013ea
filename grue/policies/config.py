"""The keys of ``alg.policy``: the language model to finetune by rewards, and its critic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from common.config.base import COUNTS_AS_DEFAULT, IGNORED, INPUT_FILE_OR_ID
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.config.hub_revision import FromHub, Revision, misplaced_revision
from common.errors import Problem
from grue import policies
from grue.models.config import ModelName, ModelType, Optimizer, Side, TrainedModelOptions
from grue.parts.custom import OrCustom
from grue.policies.generation_config import GenerationConfig

CRITICS = ("copy", "shared")
"""Critics that are not the name of a model."""


class PolicyArgs(FromHub):
    """The policy's own keys."""

    model_name: ModelName
    """The model to finetune."""
    apply_model_parallel: Annotated[bool, IGNORED, COUNTS_AS_DEFAULT] = True
    """Accepted from published files and ignored: a run has one device."""
    optimizer_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the optimizer other than the learning rate."""
    optimizer: Optimizer = "adamw"
    """Form of Adam: PyTorch's, or TensorFlow's, which adds ``eps`` before the bias correction of
    the second moment and so starts with smaller steps."""
    weight_decay: NonNegativeFloat = 1e-6
    """Weight decay of all weights but biases and layer norms."""
    prompt_truncation_side: Side = "left"
    """Side on which long prompts are truncated in evaluations."""
    generation_kwargs: GenerationConfig = Field(default_factory=GenerationConfig)
    """Generation settings of rollouts."""
    query_prefix: str = ""
    """Text before each prompt that a causal policy reads and rewards and metrics do not. It is
    tokenized separately from the prompt."""
    query_suffix: str = ""
    """Text after each prompt, likewise, such as ``"\\n\\nTL;DR:"``."""


class MaskablePolicyArgs(PolicyArgs):
    """A policy that samples from a masked vocabulary (NLPO)."""

    top_mask: PositiveFloat | None = None
    """Size of the mask: p for ``learned_top_p``, k otherwise."""
    mask_type: Literal["learned_top_k", "learned_top_p", "topk"] = "learned_top_k"
    """Tokens kept by the mask: the mask model's top k or top p, or the policy's own top k."""
    target_update_iterations: PositiveInt = 1000
    """Iterations between refreshes of the mask model."""
    min_tokens_to_keep: PositiveInt = 100
    """Smallest number of tokens that ``learned_top_p`` keeps."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of a mask that lacks its size or has one of the wrong kind."""
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

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield the names of keys that the kind of mask leaves without effect, with the reason."""
        kind = "'alg.policy.args.mask_type'"
        if self.mask_type != "learned_top_p":
            yield "min_tokens_to_keep", f"without {kind} = 'learned_top_p'"
        if self.mask_type == "topk":
            yield "target_update_iterations", f"with {kind} = 'topk', which has no mask model"


class PolicyConfig(TrainedModelOptions):
    """A language model with a critic."""

    if TYPE_CHECKING:  # what every subclass has, each of its own type and at its own place
        id: str
        args: Any

    critic: Annotated[str, INPUT_FILE_OR_ID] = "copy"
    """Trunk of the critic: ``copy`` for a second copy of the model, ``shared`` for a head on the
    policy itself, otherwise the folder or hub id of another model, for example a smaller one."""
    critic_revision: Revision = None
    """Branch, tag or commit of the critic's hub id; None (or the empty string) for its default
    branch."""
    critic_head: Literal["random", "zero"] = "random"
    """Initial last layer of the critic: random weights without bias, or weights and bias of zero,
    so that all values are zero at first."""
    gradient_checkpointing: bool = False
    """If true, updates recompute activations instead of keeping them: less memory, more time."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a revision of a critic that is not on the hub."""
        yield from super().problems()
        name = None if self.critic in CRITICS else self.critic
        yield from misplaced_revision(self.critic_revision, name, "critic", "critic_revision")

    @property
    def model_type(self) -> ModelType:
        """Architecture of the model: causal, or encoder-decoder."""
        return "seq2seq" if "seq2seq" in self.id else "causal"


class CustomPolicy(PolicyConfig):
    """A user's own policy, see `grue.parts.custom`."""

    @property
    def model_type(self) -> ModelType:
        """Keys of the policy's `Args` class."""
        found: ModelType = policies.find(self.id).model_type
        return found


class CausalPolicy(PolicyConfig):
    """A causal language model with a critic."""

    id: Literal["causal_lm_actor_critic_policy"]
    """Id of the policy."""
    args: PolicyArgs
    """Keys of the policy."""


class Seq2SeqPolicy(PolicyConfig):
    """An encoder-decoder language model with a critic."""

    id: Literal["seq2seq_lm_actor_critic_policy"]
    """Id of the policy."""
    args: PolicyArgs
    """Keys of the policy."""


class MaskableCausalPolicy(PolicyConfig):
    """A causal language model with a critic and a vocabulary mask."""

    id: Literal["maskable_causal_lm_actor_critic_policy"]
    """Id of the policy."""
    args: MaskablePolicyArgs
    """Keys of the policy."""


class MaskableSeq2SeqPolicy(PolicyConfig):
    """An encoder-decoder language model with a critic and a vocabulary mask."""

    id: Literal["maskable_seq2seq_lm_actor_critic_policy"]
    """Id of the policy."""
    args: MaskablePolicyArgs
    """Keys of the policy."""


AnyPolicy = Annotated[
    CausalPolicy | Seq2SeqPolicy | MaskableCausalPolicy | MaskableSeq2SeqPolicy,
    Field(discriminator="id"),
    OrCustom(CustomPolicy, policies.find),
    SerializeAsAny(),
]
