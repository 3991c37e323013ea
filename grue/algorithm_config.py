"""The keys of ``alg``: which algorithm finetunes the model, and with which settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from common.config import Config
from common.errors import Problem
from common.fit_config import NonNegativeFloat, PositiveFloat, PositiveInt
from grue.generation_config import GenerationConfig
from grue.model_config import ModelName, ModelOptions, ModelType, Side, unnamed

Fraction = Annotated[float, Field(ge=0, le=1)]


class SupervisedAlg(Config):
    """Maximum likelihood of the references."""

    id: Annotated[str, Field(pattern="supervised")] = "supervised"
    """``supervised``; published files may add to the name."""
    model_type: ModelType
    """Whether the model continues its prompt or reads it through an encoder."""
    model_name: ModelName
    """The model to finetune."""
    training_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the transformers Trainer, by their published names."""
    generation_kwargs: GenerationConfig | None = None
    """How outputs for training inputs are generated in evaluations; None for the settings of
    ``train_evaluation``."""
    join_with_blank: bool = True
    """Whether a causal model's prompt and reference are joined by a blank where neither has one;
    published runs glued them together."""
    policy: ModelOptions = Field(default_factory=ModelOptions)
    """How the model is held."""

    def problems(self) -> Iterator[Problem]:
        """A model that is not named, and generation that cannot be."""
        yield from super().problems()
        yield from unnamed(self.model_name, "model_name")
        if self.generation_kwargs is not None:
            yield from of_generation(self.generation_kwargs, self.model_type, "generation_kwargs")


class KlDivConfig(Config):
    """The penalty for leaving the initial model, per token of an output."""

    coeff: NonNegativeFloat
    """Initial coefficient, in reward per nat."""
    target_kl: PositiveFloat | None = None
    """KL per token, in nats, that the coefficient is adapted to; None keeps it constant."""
    norm_reward: bool = False
    """Whether the total rewards of a rollout are standardised."""


class PolicyArgs(Config):
    """The policy's own keys."""

    model_name: ModelName
    """The model to finetune."""
    apply_model_parallel: bool = True
    """Accepted for published files: a run has one device."""
    optimizer_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the optimizer beside the learning rate."""
    weight_decay: NonNegativeFloat = 1e-6
    """Weight decay of all weights but biases and layer norms."""
    prompt_truncation_side: Side = "left"
    """Where long prompts are cut in evaluations."""
    generation_kwargs: GenerationConfig = Field(default_factory=GenerationConfig)
    """How rollouts are generated."""


class MaskablePolicyArgs(PolicyArgs):
    """A policy that samples from a masked vocabulary (NLPO)."""

    top_mask: float | int | None = None
    """The mask's p for ``learned_top_p``, its k otherwise."""
    mask_type: Literal["learned_top_k", "learned_top_p", "topk"] = "learned_top_k"
    """What the mask keeps: the mask model's best k or best p, or the policy's own best k."""
    target_update_iterations: PositiveInt = 1000
    """Iterations from one refresh of the mask model to the next."""
    min_tokens_to_keep: PositiveInt = 100
    """Fewest tokens that ``learned_top_p`` keeps."""

    def problems(self) -> Iterator[Problem]:
        """A mask without its size."""
        yield from super().problems()
        if self.top_mask is None:
            yield Problem("a maskable policy needs it: p for learned_top_p, k otherwise",
                          "top_mask")  # fmt: skip


class CausalPolicy(ModelOptions):
    """A causal language model with a critic."""

    id: Literal["causal_lm_actor_critic_policy"]
    """Which policy."""
    args: PolicyArgs
    """Its own keys."""


class Seq2SeqPolicy(ModelOptions):
    """An encoder-decoder language model with a critic."""

    id: Literal["seq2seq_lm_actor_critic_policy"]
    """Which policy."""
    args: PolicyArgs
    """Its own keys."""


class MaskableCausalPolicy(ModelOptions):
    """A causal language model with a critic and a mask."""

    id: Literal["maskable_causal_lm_actor_critic_policy"]
    """Which policy."""
    args: MaskablePolicyArgs
    """Its own keys."""


class MaskableSeq2SeqPolicy(ModelOptions):
    """An encoder-decoder language model with a critic and a mask."""

    id: Literal["maskable_seq2seq_lm_actor_critic_policy"]
    """Which policy."""
    args: MaskablePolicyArgs
    """Its own keys."""


AnyPolicy = Annotated[
    CausalPolicy | Seq2SeqPolicy | MaskableCausalPolicy | MaskableSeq2SeqPolicy,
    Field(discriminator="id"),
]


class ActorCriticArgs(Config):
    """What the actor-critic algorithms share."""

    learning_rate: PositiveFloat = 3e-4
    """Step size."""
    gamma: Fraction = 0.99
    """Discount per token."""
    gae_lambda: Fraction = 0.95
    """Exponential weight of advantage estimates (arXiv 1506.02438)."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: NonNegativeFloat = 0.5
    """Weight of the critic's loss."""
    max_grad_norm: PositiveFloat = 0.5
    """Gradients of policy and critic are clipped to this joint norm."""
    verbose: int = 0
    """Accepted for published files."""
    enforce_token_entropy_reg_estimate: bool = False
    """Whether the entropy is estimated from the sampled tokens instead of the vocabulary."""


class PpoArgs(ActorCriticArgs):
    """Proximal policy optimization (arXiv 1707.06347)."""

    n_steps: PositiveInt = 2048
    """Tokens per environment in a rollout."""
    batch_size: PositiveInt = 64
    """Tokens in a minibatch."""
    n_epochs: PositiveInt = 10
    """Passes over a rollout."""
    clip_range: PositiveFloat = 0.2
    """Probability ratios count up to this distance from 1."""
    clip_range_vf: PositiveFloat | None = None
    """Values count up to this distance from the old ones; None for no limit."""
    normalize_advantage: bool = True
    """Whether advantages are standardised per minibatch."""
    target_kl: PositiveFloat | None = None
    """Approximate KL, in nats, beyond 1.5 times of which an update ends early."""


class NlpoArgs(PpoArgs):
    """PPO from a masked vocabulary (arXiv 2210.01241)."""


class A2cArgs(ActorCriticArgs):
    """Advantage actor-critic (arXiv 1602.01783)."""

    learning_rate: PositiveFloat = 7e-4
    """Step size."""
    gae_lambda: Fraction = 1.0
    """Exponential weight of advantage estimates; 1 for plain returns."""
    n_steps: PositiveInt = 5
    """Tokens per environment in a rollout."""
    rms_prop_eps: PositiveFloat = 1e-5
    """RMSprop's epsilon."""
    use_rms_prop: bool = True
    """RMSprop instead of AdamW."""
    normalize_advantage: bool = False
    """Whether advantages are standardised."""


class TrpoArgs(Config):
    """Trust region policy optimization (arXiv 1502.05477)."""

    learning_rate: PositiveFloat = 1e-3
    """The critic's step size."""
    n_steps: PositiveInt = 2048
    """Tokens per environment in a rollout."""
    batch_size: PositiveInt = 128
    """Tokens in one of the critic's minibatches."""
    gamma: Fraction = 0.99
    """Discount per token."""
    gae_lambda: Fraction = 0.95
    """Exponential weight of advantage estimates."""
    cg_max_steps: PositiveInt = 15
    """Most steps of the conjugate gradient."""
    cg_damping: NonNegativeFloat = 0.1
    """Added to the Fisher matrix's diagonal."""
    line_search_shrinking_factor: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """The step shrinks by it while it is not accepted."""
    line_search_max_iter: PositiveInt = 10
    """Most tries of the line search."""
    n_critic_updates: PositiveInt = 10
    """Passes of the critic over a rollout."""
    normalize_advantage: bool = True
    """Whether advantages are standardised."""
    target_kl: PositiveFloat = 0.01
    """Radius of the trust region, in nats."""
    sub_sampling_factor: PositiveInt = 1
    """Every how many states count in the Fisher matrix."""
    verbose: int = 0
    """Accepted for published files."""


class _ReinforcementAlg(Config):
    """What all reinforcement algorithms have."""

    kl_div: KlDivConfig
    """The penalty for leaving the initial model."""
    policy: AnyPolicy
    """The model and its critic."""

    def problems(self) -> Iterator[Problem]:
        """A model that is not named, a mask without its size, generation that cannot be."""
        yield from super().problems()
        args = self.policy.args
        yield from unnamed(args.model_name, "policy.args.model_name")
        yield from (problem.below("policy.args") for problem in args.problems())
        key = "policy.args.generation_kwargs"
        yield from of_generation(args.generation_kwargs, self.model_type, key)

    @property
    def model_type(self) -> ModelType:
        """Whether the model continues its prompt or reads it through an encoder."""
        return "seq2seq" if "seq2seq" in self.policy.id else "causal"


class PpoAlg(_ReinforcementAlg):
    """Proximal policy optimization."""

    id: Literal["ppo"]
    """Which algorithm."""
    args: PpoArgs = Field(default_factory=PpoArgs)
    """Its settings."""


class NlpoAlg(_ReinforcementAlg):
    """Natural-language policy optimization."""

    id: Literal["nlpo"]
    """Which algorithm."""
    args: NlpoArgs = Field(default_factory=NlpoArgs)
    """Its settings."""


class A2cAlg(_ReinforcementAlg):
    """Advantage actor-critic."""

    id: Literal["a2c"]
    """Which algorithm."""
    args: A2cArgs = Field(default_factory=A2cArgs)
    """Its settings."""


class TrpoAlg(_ReinforcementAlg):
    """Trust region policy optimization."""

    id: Literal["trpo"]
    """Which algorithm."""
    args: TrpoArgs = Field(default_factory=TrpoArgs)
    """Its settings."""


def _which(alg: Any) -> str:
    """The tag of an algorithm's keys; the published rule looks for "supervised" in its id."""
    name = str(alg.get("id", "") if isinstance(alg, dict) else alg.id)
    return "supervised" if "supervised" in name else name


AnyAlg = Annotated[
    Annotated[SupervisedAlg, Tag("supervised")]
    | Annotated[PpoAlg, Tag("ppo")]
    | Annotated[NlpoAlg, Tag("nlpo")]
    | Annotated[A2cAlg, Tag("a2c")]
    | Annotated[TrpoAlg, Tag("trpo")],
    Discriminator(_which),
]


def of_generation(settings: GenerationConfig, model_type: ModelType, key: str) -> Iterator[Problem]:
    """What is wrong with the settings, at ``key``, for a model of this type."""
    yield from (problem.below(key) for problem in settings.problems())
    if model_type == "causal" and settings.max_new_tokens is None:
        yield Problem("a causal model needs it", f"{key}.max_new_tokens")
