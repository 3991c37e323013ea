"""Keys of a controlled experiment; names and defaults as published (arXiv 2310.20703)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Strict

from common.config.base import IGNORED, INPUT_FILE, NO_EFFECT, Interval, OptionalText, Seed
from common.config.fit import FitConfig, NonNegativeFloat, PositiveFloat, PositiveInt
from common.config.hub_revision import Revision, misplaced_revision
from common.errors import Problem
from common.hashing import content_hash
from sft_vs_rft import grouping
from sft_vs_rft.data_sets import DIGITS_SIZES, NUM_CLASSES
from sft_vs_rft.dataset_version import data_edition
from sft_vs_rft.model_names import BERT_PREFIX, MODEL_TYPES, VISION_MODELS, known_model
from sft_vs_rft.subsets import undrawable

CHANGED = "small reward std"
OTHERS = "large reward std"
PARTS = (CHANGED, OTHERS)
"""Published names of the two parts: inputs with a changed label, and all others."""


_PLACEHOLDER = "ADD PATH TO CHECKPOINT"


class ControlledConfig(FitConfig):
    """One pretraining or finetuning run of a classifier."""

    seed_keys: ClassVar[tuple[str, ...]] = ("random_seed", "samples_rnd_seed", "init_rnd_seed")

    score_metric_name: OptionalText = "train loss"
    """Metric that is the run's score; None for no score."""

    dataset: Literal[
        "digits", "mnist", "fmnist", "cifar10", "cifar100", "cifar100coarse", "svhn", "stsb", "npz"
    ] = "cifar10"
    """Data set of the inputs; digits is bundled with scikit-learn, npz reads ``data_path``."""
    data_dir: Annotated[str, NO_EFFECT] = "./data"
    """Folder of downloaded data sets; missing ones are downloaded to it."""
    data_path: Annotated[OptionalText, INPUT_FILE] = None
    """For npz, a file with x_train, y_train, x_test, y_test and, optionally, changed_train; for
    stsb, a folder with train.* and validation.* as JSONL, CSV or parquet."""
    data_revision: Revision = None
    """Branch, tag or commit of the data set stsb on the hub; None (or the empty string) for its
    default branch."""
    num_train_samples: int = 1000
    """Size of the stratified random training subset; 0 or less for all."""
    num_test_samples: int = 1000
    """Size of the stratified random test subset; 0 or less for all."""
    samples_rnd_seed: Seed = None
    """Seed of subsets, label sets and label changes; None (or -1) draws from the root stream."""
    num_labels_per_sample: PositiveInt = 1
    """Number of labels per input, k; the first is the true one."""
    use_multiple_labels_per_sample: bool = False
    """If true, the loss is the mean over the k labels (pretraining)."""
    frac_samples_to_modify_labels: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of training inputs whose label is changed to one outside its k labels."""
    change_label_per_class: Annotated[Any, IGNORED, NO_EFFECT] = None
    """Accepted for published plans and ignored."""

    model_type: Annotated[
        str,
        AfterValidator(known_model),
        Field(json_schema_extra={"examples": [*MODEL_TYPES, "bert:<id or folder>"]}),
    ] = "resnet18"
    """Architecture: mlp, one of torchvision's classifiers, or a BERT with random weights; its
    sizes and vocabulary may come from ``bert:<hub id or folder>``."""
    model_revision: Revision = None
    """Branch, tag or commit of a BERT's sizes and vocabulary on the hub; None (or the empty string)
    for the default branch."""
    mlp_hidden_layer_sizes: Annotated[tuple[PositiveInt, ...], Strict(False)] = (250, 100)
    """Widths of the MLP's hidden layers."""
    init_rnd_seed: Seed = None
    """Seed of the initial weights; None (or -1) draws from the root stream."""
    load_model_from_checkpoint: Annotated[OptionalText, INPUT_FILE] = None
    """Checkpoint of the initial weights: a path, or a reference such as
    ``"@pretrain.checkpoint"``."""

    opt_method: Literal["supervised", "reinforce", "expected_reinforce"] = "supervised"
    """Objective: cross-entropy, REINFORCE with one sampled label per input, or the exact expected
    reward."""
    reward_type: Literal["labels", "labels_with_custom"] = "labels"
    """Reward: +1 for the label and ``min_reward`` otherwise; with_custom gives +0.5 to a wrong
    answer on an input whose label was changed."""
    min_reward: float = -1.0
    """Reward of a wrong answer."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Optimizer: SGD without momentum, or Adam."""
    lr: PositiveFloat = 1e-3
    """Learning rate of the optimizer."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay: L2 penalty, added to the gradient."""
    kl_regularization_coeff: NonNegativeFloat = 0.0
    """Coefficient of the KL(policy || reference) penalty, in reward per nat; 0 loads no
    reference."""
    kl_reg_ref_unif: bool = False
    """If true, the reference is the uniform distribution instead of the initial model."""
    logits_temperature: PositiveFloat = 1.0
    """Divisor of the logits before the softmax."""
    batch_size: PositiveInt = 128
    """Number of inputs per update."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """Precision of passes through the model: exact, TensorFloat-32 products on GPUs that have them,
    or bfloat16 autocast. Weights, losses and measurements stay in float32."""
    channels_last: Annotated[bool, NO_EFFECT] = False
    """If true, a convolutional model stores the channels of a pixel next to each other, which is
    faster on GPUs in tf32 and bf16; results are equal up to rounding."""
    diagnostics: bool = True
    """If true, gradients, rewards and their deviation are measured; this never changes training."""
    theory_every: Interval = None
    """Number of epochs between measurements of single inputs' expected gradients and of their bound
    (arXiv 2310.20703, theorem 1), in addition to those before the first and after the last epoch;
    None (or -1) for none at all. It never changes training."""
    theory_inputs: int = 200
    """Number of training inputs that ``theory_every`` measures: those with a changed label, at most
    half, and others to fill up; 0 or less for all."""

    def identity(self) -> dict[str, Any]:
        """Return the keys that can change results; folders of data and vocabularies by content."""
        found = super().identity() | {"data_edition": data_edition(self.dataset, self.data_dir)}
        vocabulary = Path(self.model_type.removeprefix(BERT_PREFIX))
        if self.is_bert and vocabulary.is_dir():
            found["model_type"] = {"sha256": content_hash(vocabulary)}
        return found

    @property
    def tf32(self) -> bool:
        """True if products may be rounded: matrix products and convolutions."""
        return self.precision == "tf32"

    @property
    def is_bert(self) -> bool:
        """True if the model reads texts."""
        return self.model_type.startswith("bert")

    @property
    def data_source(self) -> tuple[str | None, ...]:
        """Keys that the pool of inputs depends on."""
        vocabulary = self.model_type if self.dataset == "stsb" else None
        revisions = self.data_revision, self.model_revision
        return self.dataset, self.data_dir, self.data_path, vocabulary, *revisions

    def needs_preflight(self) -> bool:
        """True if files, stages, or a model that takes only some sizes need a preflight check.

        The digits, which are bundled and of one size, and an MLP need none, and so no torch yet.
        """
        known = self.dataset == "digits" and self.model_type == "mlp"
        return not known or bool(self.input_files())

    def why_alone(self) -> str | None:
        """Return why this run cannot be trained together with others; None if it can be."""
        if self.model_type != "mlp":
            return f"'model_type' = '{self.model_type}', and only 'mlp' can be batched"
        if self.precision != "float32":
            return f"'precision' = '{self.precision}', and only 'float32' can be batched"
        if len(self.gpu_ids) > 1:
            return f"'gpu_ids' = {list(self.gpu_ids)}, and a group has one device"
        if self.use_wandb:
            return "'use_wandb' = True, and Weights & Biases knows one run per process"
        return None

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield keys that save memory: smaller passes, narrower activations, no measurements."""
        yield f"lower 'batch_size' ({self.batch_size})"
        if self.precision != "bf16":
            yield "set 'precision' to 'bf16'"
        if self.diagnostics:
            yield "set 'diagnostics' to false"

    def vectorize_key(self) -> str:
        """Return the key that runs share which are trained together."""
        return grouping.key(self.identity(), self.data_dir, self.gpu_ids, self.deterministic)

    @property
    def multi_label(self) -> bool:
        """True if the loss is the mean over several labels."""
        return self.use_multiple_labels_per_sample

    @property
    def may_have_changed_inputs(self) -> bool:
        """True if some training labels are, or may be, changed."""
        share, size = self.frac_samples_to_modify_labels, self.num_train_samples
        rounds_to_none = size > 0 and int(size * share) == 0
        return (share > 0 and not rounds_to_none) or self.dataset == "npz"

    def metric_names(self) -> list[str]:
        """Return the metrics that this run writes."""
        names = ["train loss", "test loss"]
        names += [] if self.multi_label else ["train accuracy", "test accuracy"]
        if not self.diagnostics:
            return names
        names += ["reg objective value", "kl reg", "params_norm", "grad norm"]
        names += ["normalized grad norm"] + ([] if self.multi_label else ["reward"])
        if self.may_have_changed_inputs and not self.multi_label:
            stems = (
                "grad norm",
                "normalized grad norm",
                "reg objective",
                "train accuracy",
                "reward",
                "avg reward std",
            )
            names += [f"{stem} {part}" for part in PARTS for stem in stems]
        return names

    def notices(self) -> Iterator[str]:
        """Yield notices on valid keys that the user should know."""
        yield from super().notices()
        if self.opt_method == "reinforce" and self.kl_regularization_coeff > 0:
            yield (
                "'kl_regularization_coeff' with 'opt_method' = 'reinforce': as published, the "
                "penalty's gradient is zero in expectation, so it adds noise alone; "
                "'expected_reinforce' has the exact penalty"
            )

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of keys that do not fit together."""
        yield from super().problems()
        if (self.load_model_from_checkpoint or "").startswith(_PLACEHOLDER):
            yield Problem(
                "put the path of the pretraining run's checkpoints/last.pt here, or a reference "
                "to a pretraining stage of this plan such as '@pretrain.checkpoint'",
                "load_model_from_checkpoint",
                self.load_model_from_checkpoint,
            )
        if self.dataset == "npz" and self.data_path is None:
            yield Problem("dataset 'npz' needs the path of a file here", "data_path", None)
        if self.dataset not in ("npz", "stsb") and self.data_path is not None:
            yield Problem(
                "only the datasets npz and stsb read it; remove it", "data_path", self.data_path
            )
        if self.channels_last and self.model_type not in VISION_MODELS:
            yield Problem(
                "only convolutional models have channels; remove it", "channels_last", True
            )
        if self.is_bert != (self.dataset == "stsb"):
            yield Problem(
                "BERT reads dataset 'stsb', and only BERT does; change one of the two",
                "model_type",
                self.model_type,
            )
        vocabulary = self.model_type.removeprefix(BERT_PREFIX) if self.is_bert else None
        yield from misplaced_revision(
            self.model_revision, vocabulary, "model_type", "model_revision"
        )
        if self.data_revision is not None and (self.dataset != "stsb" or self.data_path):
            yield Problem("is of the data set stsb on the hub; take it out", "data_revision",
                          self.data_revision)  # fmt: skip
        yield from self._label_problems()
        if self.dataset == "digits":  # whose sizes are known without a look
            for part, total in DIGITS_SIZES.items():
                key = f"num_{part}_samples"
                why_not = undrawable(getattr(self, key), total, NUM_CLASSES["digits"], 2)
                if why_not:
                    yield Problem(why_not, key, getattr(self, key))

    def _label_problems(self) -> Iterator[Problem]:
        k = self.num_labels_per_sample
        if self.multi_label and k == 1:
            yield Problem(
                "needs 'num_labels_per_sample' above 1", "use_multiple_labels_per_sample", True
            )
        if self.multi_label and self.opt_method != "supervised":
            yield Problem(
                "needs 'opt_method' = 'supervised'", "use_multiple_labels_per_sample", True
            )
        if self.multi_label and self.frac_samples_to_modify_labels > 0:
            yield Problem(
                "labels are changed only where one label counts; set it to 0 or "
                "'use_multiple_labels_per_sample' to false",
                "frac_samples_to_modify_labels",
                self.frac_samples_to_modify_labels,
            )
        classes = NUM_CLASSES.get(self.dataset)
        if classes is None:
            return
        if k > classes:
            yield Problem(f"{self.dataset} has {classes} classes", "num_labels_per_sample", k)
        if k == classes and self.frac_samples_to_modify_labels > 0:
            yield Problem(
                "leaves no class to change a label to; lower it", "num_labels_per_sample", k
            )
