"""The keys of a controlled experiment; names and defaults as published (arXiv 2310.20703)."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict

from common.config import INPUT_FILE, NO_EFFECT, Interval, OptionalText, Seed
from common.errors import Problem
from common.fit_config import FitConfig, NonNegativeFloat, PositiveFloat, PositiveInt
from common.identity import content_hash

CHANGED = "small reward std"
OTHERS = "large reward std"
PARTS = (CHANGED, OTHERS)
"""The published names of the inputs whose label was changed, and of all others."""

NUM_CLASSES = 10  # of every named data set so far
_PLACEHOLDER = "ADD PATH TO CHECKPOINT"
_IDX_FOLDERS = {"mnist": "MNIST/raw", "fmnist": "FashionMNIST/raw"}
_IDX_BYTES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}


class ControlledConfig(FitConfig):
    """One pretraining or finetuning run of a classifier."""

    seed_keys: ClassVar[tuple[str, ...]] = ("random_seed", "samples_rnd_seed", "init_rnd_seed")

    score_metric_name: OptionalText = "train loss"
    """Metric that is the run's score; None for no score."""
    score_largest: bool = False
    """Whether a larger score is better."""

    dataset: Literal["digits", "mnist", "fmnist", "npz"] = "mnist"
    """Where inputs come from; digits is bundled with scikit-learn, npz reads ``data_path``."""
    data_dir: Annotated[str, NO_EFFECT] = "./data"
    """Folder of downloaded data sets; what is absent is downloaded to it."""
    data_path: Annotated[OptionalText, INPUT_FILE] = None
    """For npz: a file with x_train, y_train, x_test, y_test and, optionally, changed_train."""
    num_train_samples: int = 1000
    """Size of the stratified random training subset; 0 or less for all."""
    num_test_samples: int = 1000
    """Size of the stratified random test subset; 0 or less for all."""
    samples_rnd_seed: Seed = None
    """Seed of subsets, label sets and label changes; None (or -1) draws from the root stream."""
    num_labels_per_sample: PositiveInt = 1
    """Labels per input, k; the first is the true one."""
    use_multiple_labels_per_sample: bool = False
    """Whether the loss is the mean over the k labels (pretraining)."""
    frac_samples_to_modify_labels: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of training inputs whose label is changed to one outside its k labels."""
    change_label_per_class: Annotated[Any, NO_EFFECT] = None
    """Accepted for published plans and ignored."""

    model_type: Literal["mlp"] = "mlp"
    """Architecture."""
    mlp_hidden_layer_sizes: Annotated[tuple[PositiveInt, ...], Strict(False)] = (250, 100)
    """Widths of the MLP's hidden layers."""
    init_rnd_seed: Seed = None
    """Seed of the initial weights; None (or -1) draws from the root stream."""
    load_model_from_checkpoint: Annotated[OptionalText, INPUT_FILE] = None
    """Weights to start from: a path, or a reference such as ``"@pretrain.checkpoint"``."""

    opt_method: Literal["supervised", "reinforce", "expected_reinforce"] = "supervised"
    """Cross-entropy, one sampled label per input, or the exact expected reward."""
    reward_type: Literal["labels", "labels_with_custom"] = "labels"
    """+1 for the label and ``min_reward`` otherwise; with_custom: +0.5 for a wrong answer on an
    input whose label was changed."""
    min_reward: float = -1.0
    """Reward of a wrong answer."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """SGD without momentum, or Adam."""
    lr: PositiveFloat = 1e-3
    """Step size."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty, added to the gradient."""
    kl_regularization_coeff: NonNegativeFloat = 0.0
    """KL(policy || reference) penalty, in reward per nat; 0 loads no reference."""
    kl_reg_ref_unif: bool = False
    """Whether the reference is the uniform distribution instead of the initial model."""
    logits_temperature: PositiveFloat = 1.0
    """Logits are divided by it before the softmax."""
    batch_size: PositiveInt = 128
    """Inputs per update."""
    diagnostics: bool = True
    """Whether gradients, rewards and their deviation are measured; never changes training."""
    theory_every: Interval = None
    """Epochs from one measurement of single inputs' expected gradients and of their bound (arXiv
    2310.20703, theorem 1) to the next, beside those before the first and after the last epoch;
    None (or -1) for none at all. Never changes training."""
    theory_inputs: int = 200
    """Training inputs that ``theory_every`` measures: those with a changed label, at most half,
    and others to fill up; 0 or less for all."""

    def identity(self) -> dict[str, Any]:
        """The keys that can change results, and which edition of the data ``data_dir`` holds."""
        return super().identity() | {"data_edition": self._data_edition()}

    def _data_edition(self) -> str | None:
        """A content hash where the folder holds another edition than the published one."""
        if self.dataset not in _IDX_FOLDERS:
            return None
        raw = Path(self.data_dir) / _IDX_FOLDERS[self.dataset]
        found = {name: raw / name for name in _IDX_BYTES if (raw / name).exists()}
        if all(path.stat().st_size == _IDX_BYTES[name] for name, path in found.items()):
            return None
        return "-".join(content_hash(path)[:8] for path in found.values())

    def reads_files(self, referenced: Set[str | int]) -> bool:
        """Whether data or weights come from files; digits come with scikit-learn."""
        return self.dataset != "digits" or bool(self.input_files().keys() - referenced)

    @property
    def multi_label(self) -> bool:
        """Whether the loss is the mean over several labels."""
        return self.use_multiple_labels_per_sample

    @property
    def may_have_changed_inputs(self) -> bool:
        """Whether some training labels are, or may be, changed."""
        return self.frac_samples_to_modify_labels > 0 or self.dataset == "npz"

    def metric_names(self) -> list[str]:
        """The metrics that this run writes."""
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
        """What the user should know of the keys given, though nothing is wrong."""
        yield from super().notices()
        if self.change_label_per_class is not None:
            yield "'change_label_per_class' has no effect in the published code either; ignored"

    def problems(self) -> Iterator[Problem]:
        """Keys that do not fit together."""
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
        if self.dataset != "npz" and self.data_path is not None:
            yield Problem("only dataset 'npz' reads a file; remove it", "data_path", self.data_path)
        yield from self._label_problems()

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
        if self.dataset != "npz" and k > NUM_CLASSES:
            yield Problem(f"{self.dataset} has {NUM_CLASSES} classes", "num_labels_per_sample", k)
        if self.dataset != "npz" and k == NUM_CLASSES and self.frac_samples_to_modify_labels > 0:
            yield Problem(
                "leaves no class to change a label to; lower it", "num_labels_per_sample", k
            )
