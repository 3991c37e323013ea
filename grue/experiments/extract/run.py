"""Extraction run: K outputs of each input of a split, their rewards, and the rewards' deviation."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.experiment import Context
from common.run.folder import write_json, write_table
from common.run.summary import write_summary
from common.training.stepwise_run import StepwiseRun
from grue.experiments.extract import published_samples
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.extract.store import SampleStore
from grue.models.loading import load_model, load_tokenizer
from grue.parts.token_numbers import summed
from grue.parts.user_function import name_of, scores_of
from grue.policies.policy import Policy, by_length
from grue.random_streams import Occasion
from grue.rewards.reward import Reward
from grue.rl import reward_stats
from grue.tasks.inputs import load_inputs, tell_of_fewer
from grue.texts import Texts, groups

if TYPE_CHECKING:
    import pandas as pd

    from grue.metrics.metric import Scores

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0
REWARD, REWARD_PART = "reward", "reward_parts/"
"""Columns of the reward, and of those of which it is the sum."""
_TEXT_COLUMNS = ("input_id", "index", "sample_id", "prompt", "output", "num_tokens")


def run(config: ExtractConfig, context: Context) -> float | None:
    """Sample and score the outputs; the score is the mean of the first metric."""
    return Extraction(config, context).run()


class Extraction(StepwiseRun[ExtractConfig, None]):
    """Run that samples batch by batch; its state is the parts on the disk."""

    unit = "batch"

    def load_data(self) -> None:
        """Read the inputs."""
        split = self.config.evaluation.split
        self.inputs = load_inputs(self.config.datapool, split, seed=self.context.seed)
        tell_of_fewer(self.config.datapool, {split: len(self.inputs)})

    def build_model(self) -> None:
        """Load the policy and the metrics, and put prompts of like length into batches."""
        config, alg = self.config, self.config.alg
        self.reward = None if config.reward_fn is None else config.reward_fn.build()
        self.metrics = [metric.build() for metric in config.evaluation.metrics]
        tokenizer = load_tokenizer(config.tokenizer)
        model = load_model(
            alg.model_name,
            alg.model_type,
            alg.policy,
            seed=self.context.seed,
            revision=alg.revision,
        )
        self.policy = Policy(model, tokenizer, self.device)
        self.prompts = self.policy.read(
            self.inputs.samples,
            alg.generation_kwargs,
            config.tokenizer.max_length,
            config.tokenizer.truncation_side,
            level=logging.WARNING,
        )
        self.lengths = [len(prompt) for prompt in self.prompts]
        self.batches = list(by_length(self.lengths, config.evaluation.eval_batch_size))

    def measure_start(self) -> None:
        """Name the files that are no parts of this run; nothing is measured before sampling."""
        log.info("%d samples of each of %d inputs", self.config.evaluation.num_samples_per_input,
                 len(self.inputs))  # fmt: skip
        self.store = SampleStore(self.folder.path / "samples", _TEXT_COLUMNS)
        self.store.tell_of_strangers(len(self.batches))
        self.parts: list[pd.DataFrame] = []
        self._progress = _Progress(self.context, len(self.inputs))

    @property
    def num_steps(self) -> int:
        """Batches of the whole run."""
        return len(self.batches)

    def step(self) -> dict[str, float]:
        """Sample and score a batch, as far as no earlier attempt has."""
        rows = self.batches[self.steps_done]
        part = self.store.read(self.steps_done, self._index(rows))
        if part is None:
            part = self._sample(rows, [self.prompts[row] for row in rows])
            self.store.write(self.steps_done, part)
        if list(part.columns) == list(_TEXT_COLUMNS):
            part = self._scored(part, rows)
            self.store.write(self.steps_done, part)
            self._progress.made(len(rows))
        else:
            self._progress.found(len(rows))
        self.parts.append(part)
        self.steps_done += 1
        return {}

    def record(self, values: Mapping[str, float]) -> None:
        """Write no row: what is measured stands in the parts."""

    def tell_progress(self) -> None:
        """Tell how many inputs are done."""
        self._progress.tell()

    def _index(self, rows: Sequence[int]) -> list[int]:
        """Return the positions of inputs in their split, each K times: a part's ``index``."""
        index = [self.inputs.index[row] for row in rows]
        return list(np.repeat(index, self.config.evaluation.num_samples_per_input))

    def _sample(self, rows: Sequence[int], prompts: Sequence[list[int]]) -> pd.DataFrame:
        """Return K outputs for each of a batch of inputs, one row each."""
        import pandas as pd

        num_samples = self.config.evaluation.num_samples_per_input
        settings = self.config.alg.generation_kwargs
        index = [self.inputs.index[row] for row in rows]
        outputs = self.policy.drawn(
            prompts, num_samples, settings, inputs=index, occasion=Occasion.EXTRACTION,
            seed=self.context.seed, by_library=self.config.evaluation.sampler == "generate",
        )  # fmt: skip
        tokens = [output for samples in outputs for output in samples]
        samples = [self.inputs.samples[row] for row in rows for _ in range(num_samples)]
        return pd.DataFrame(
            {
                "input_id": [sample.id for sample in samples],
                "index": np.repeat(index, num_samples),
                "sample_id": list(range(num_samples)) * len(rows),
                "prompt": [sample.prompt for sample in samples],
                "output": self.policy.scored_texts(tokens, settings),
                "num_tokens": [len(output) for output in tokens],
            }
        )

    def _scored(self, part: pd.DataFrame, rows: Sequence[int]) -> pd.DataFrame:
        """Return the samples of a batch with one column per metric."""
        num_samples = self.config.evaluation.num_samples_per_input
        repeated = [row for row in rows for _ in range(num_samples)]
        texts = self.inputs.texts(part["output"].tolist(), repeated)
        scores: dict[str, Scores] = {}
        if self.reward is not None:
            scores |= _rewards(self.reward, texts)
            _check(scores, part, {})
        for metric in self.metrics:
            found = metric.scores(texts)
            _check(found, part, scores)
            scores |= found
        return part.assign(**scores)

    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Write the tables of all samples; return the mean of the first metric."""
        import pandas as pd

        samples = pd.concat(self.parts, ignore_index=True)
        order = {number: row for row, number in enumerate(self.inputs.index)}
        samples = samples.sort_values(
            ["index", "sample_id"], key=lambda c: c.map(order) if c.name == "index" else c
        )
        names = [name for name in samples.columns if name not in _TEXT_COLUMNS]
        evaluation = self.config.evaluation
        shape = len(self.inputs), evaluation.num_samples_per_input
        rewards = {name: samples[name].to_numpy(np.float64).reshape(shape) for name in names}
        ids = [sample.id for sample in self.inputs.samples]

        table, summary = reward_stats.tables(
            ids,
            rewards,
            ddof=evaluation.ddof,
            zero_tol=evaluation.zero_tol,
            low_std=evaluation.low_std,
            group_sizes=evaluation.group_sizes,
            groups=self._groups(),
        )
        write_table(self.folder.table("samples"), samples)
        write_table(self.folder.table("reward_stats"), table)
        write_json(self.folder.path / "reward_stats.json", summary)
        if self.config.published_format:
            published_samples.write(self.folder.path, self.config, self.inputs.index, samples)
        for name, values in rewards.items():
            log.info("%s: mean %.4f, std over all samples %.4f", name, values.mean(), values.std())
        score = float(rewards[names[0]].mean())
        write_summary(
            self.folder, score, names[0], padding=padding(self.batches, self.lengths), metrics=names
        )
        self.context.once_done(self.store.clear)
        return score

    def _groups(self) -> dict[str, NDArray[np.int64]] | None:
        """Return the positions of inputs by the value of their metadata, if that is asked for."""
        name = self.config.evaluation.group_by
        if name is None:
            return None
        return groups([sample.metadata for sample in self.inputs.samples], name)


def padding(batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> float:
    """Return the share of prompt positions that are padding."""
    positions = sum(len(rows) * max(lengths[row] for row in rows) for rows in batches)
    return 1 - sum(lengths) / positions


def _rewards(reward: Reward[Any], texts: Texts) -> dict[str, Scores]:
    """Return [N] rewards of whole outputs, and those of which they are made, by column.

    Raises:
        UserError: the reward fails, or their number is wrong.
    """
    parts: dict[str, Scores] = {}

    def total(texts: Texts) -> Scores:
        found, of_parts = reward.with_parts(texts)
        parts.update({f"{REWARD_PART}{name}": summed(part) for name, part in of_parts.items()})
        return found

    found = scores_of(total, texts, per_token=True, name=name_of(type(reward)))
    return {REWARD: summed(found), **parts}


def _check(found: Mapping[str, Scores], part: pd.DataFrame, earlier: Mapping[str, Scores]) -> None:
    """Refuse numbers that are not finite, and a second metric of the same name."""
    for name, values in found.items():
        if name in earlier:
            raise UserError(f"'evaluation.metrics': two of them give '{name}'; take one out")
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            row = part.iloc[int(wrong[0])]
            raise UserError(
                f"'{name}' is {values[wrong[0]]} for input {row['input_id']}, sample "
                f"{row['sample_id']} (of {len(wrong)} such in this batch), output "
                f"{row['output'][:60]!r}; the samples are kept: fix the metric and run again "
                "with --retry_failed"
            )


class _Progress:
    """Reporter of the run's progress and speed."""

    def __init__(self, context: Context, total: int) -> None:
        self.done = 0
        self._context = context
        self._total = total
        self._made = 0
        self._started = self._said_at = time.monotonic()

    def tell(self) -> None:
        """Log the number of finished inputs."""
        self._context.progress(self.done, self._total)

    def found(self, count: int) -> None:
        """Count inputs that an earlier attempt has made."""
        self.done += count

    def made(self, count: int) -> None:
        """Count inputs, and log at intervals how many are left."""
        self._made += count
        self.found(count)
        now = time.monotonic()
        if now - self._said_at >= _SECONDS_BETWEEN_LINES:
            self._said_at = now
            per_second = self._made / (now - self._started)
            left = (self._total - self.done) / per_second
            log.info("%d of %d inputs, %.2f inputs per second, %.1f minutes left", self.done,
                     self._total, per_second, left / 60)  # fmt: skip
