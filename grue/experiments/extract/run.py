"""Extraction run: K outputs of each input of a split, their rewards, and the rewards' deviation."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from common.experiment import Context
from common.run.folder import write_json, write_table
from common.run.summary import write_summary
from common.training.stepwise_run import StepwiseRun
from grue.experiments.extract import published_samples
from grue.experiments.extract.config import ExtractConfig, ServedAlg
from grue.experiments.extract.samplers import OwnModel, Sampler, ServedModel
from grue.experiments.extract.scores import SQUARED_NORM, STANDARD_ERROR, check_scores, rewards_of
from grue.experiments.extract.store import SampleStore
from grue.policies.server.client import Output
from grue.rl import reward_stats
from grue.rl.expected_gradient import squared_norm
from grue.tasks.inputs import load_inputs, tell_of_fewer
from grue.texts import Texts, groups

if TYPE_CHECKING:
    import pandas as pd

    from grue.metrics.metric import Scores

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0


def run(config: ExtractConfig, context: Context) -> float | None:
    """Sample and score the outputs; the score is the mean of the first metric."""
    return Extraction(config, context).run()


class Extraction(StepwiseRun[ExtractConfig, None]):
    """Run that samples batch by batch; its state is the parts on the disk."""

    unit = "batch"
    text_columns: ClassVar[Sequence[str]] = (
        "input_id", "index", "sample_id", "prompt", "output", "num_tokens"
    )  # fmt: skip
    """Columns of a sample before it is scored."""

    def load_data(self) -> None:
        """Read the inputs."""
        split = self.config.evaluation.split
        self.inputs = load_inputs(self.config.datapool, split, seed=self.context.seed)
        tell_of_fewer(self.config.datapool, {split: len(self.inputs)})
        self.rows = {number: row for row, number in enumerate(self.inputs.index)}

    def build_model(self) -> None:
        """Make the reward, the metrics and the sampler."""
        config = self.config
        self.reward = None if config.reward_fn is None else config.reward_fn.build()
        self.metrics = [metric.build() for metric in config.evaluation.metrics]
        kind = ServedModel if isinstance(config.alg, ServedAlg) else OwnModel
        self.sampler: Sampler = kind(
            config, self.inputs, self.context, device=self.device, own_folder=self._drawn_folder
        )

    def measure_start(self) -> None:
        """Name the files that are no parts of this run; nothing is measured before sampling."""
        log.info("%d samples of each of %d inputs", self.config.evaluation.num_samples_per_input,
                 len(self.inputs))  # fmt: skip
        self.store = SampleStore(self.folder.path / "samples", self.text_columns)
        self.store.tell_of_strangers(self.num_steps)
        self.parts: list[pd.DataFrame] = []
        self.products: dict[int, NDArray[np.float64]] = {}
        self._progress = _Progress(self.context, len(self.inputs))

    @property
    def num_steps(self) -> int:
        """Batches of the whole run."""
        return len(self.sampler.batches)

    def step(self) -> dict[str, float]:
        """Sample and score a batch, as far as no earlier attempt has."""
        rows = self.sampler.batches[self.steps_done]
        part = self.store.read(self.steps_done, self._index(rows))
        if part is None:
            with self.doing("sampling"):
                part = self._sampled(rows)
            self.store.write(self.steps_done, part)
        if list(part.columns) == list(self.text_columns):
            with self.doing("scoring"):
                part = self._scored(part)
            self.store.write(self.steps_done, part)
            self._progress.made(len(rows))
        else:
            self._progress.found(len(rows))
        if self.config.evaluation.gradients:
            with self.doing("differentiating"):
                self._differentiate(rows)
        self.parts.append(part)
        self.steps_done += 1
        return {}

    def _differentiate(self, rows: Sequence[int]) -> None:
        """Note the products of the scores of a batch, unless a stop is asked for in between."""
        assert isinstance(self.sampler, OwnModel), "as the keys were checked"
        for row in rows:
            if self.is_stop_requested():
                self.interrupt()
            self.products[row] = self.sampler.products(row)

    def record(self, values: Mapping[str, float]) -> None:
        """Write no row: what is measured stands in the parts."""

    def tell_progress(self) -> None:
        """Tell how many inputs are done, and what is being done."""
        self._progress.tell(self._doing)

    def _index(self, rows: Sequence[int]) -> list[int]:
        """Return the positions of inputs in their split, each K times: a part's ``index``."""
        index = [self.inputs.index[row] for row in rows]
        return list(np.repeat(index, self.config.evaluation.num_samples_per_input))

    @property
    def _drawn_folder(self) -> Path:
        """Folder of what a run without a shared cache keeps until its end."""
        return self.folder.path / "drawn"

    def _sampled(self, rows: Sequence[int]) -> pd.DataFrame:
        """Return K outputs for each of a batch of inputs, one row each."""
        return self.frame(*self.places(rows), self.sampler.outputs(rows))

    def places(self, rows: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the input of each of K outputs of a batch of inputs, and its number among them."""
        num_samples = self.config.evaluation.num_samples_per_input
        repeated = [row for row in rows for _ in range(num_samples)]
        return repeated, list(range(num_samples)) * len(rows)

    def frame(
        self, rows: Sequence[int], numbers: Sequence[int], outputs: Sequence[Output]
    ) -> pd.DataFrame:
        """Return outputs as rows of a table, each with its number among those of its input."""
        import pandas as pd

        samples = [self.inputs.samples[row] for row in rows]
        num_tokens = [output.num_tokens for output in outputs]
        return pd.DataFrame(
            {
                "input_id": [sample.id for sample in samples],
                "index": [self.inputs.index[row] for row in rows],
                "sample_id": list(numbers),
                "prompt": [sample.prompt for sample in samples],
                "output": [output.text for output in outputs],
                "num_tokens": pd.array(num_tokens, "Int64" if None in num_tokens else "int64"),
            }
        )

    def _scored(self, part: pd.DataFrame) -> pd.DataFrame:
        """Return the samples of a batch with one column per metric."""
        texts = self.inputs.texts(part["output"].tolist(), part["index"].map(self.rows).tolist())
        scores: dict[str, Scores] = {}
        for found in self.scores_of(texts):
            check_scores(found, part, scores)
            scores |= found
        return part.assign(**scores)

    def scores_of(self, texts: Texts) -> Iterator[Mapping[str, Scores]]:
        """Yield [N] scores of outputs by column: the reward, then one mapping per metric."""
        if self.reward is not None:
            yield rewards_of(self.reward, texts)
        yield from (metric.scores(texts) for metric in self.metrics)

    def samples_table(self) -> pd.DataFrame:
        """Return all samples, in the order of the inputs."""
        import pandas as pd

        samples = pd.concat(self.parts, ignore_index=True)
        return samples.sort_values(
            ["index", "sample_id"], key=lambda c: c.map(self.rows) if c.name == "index" else c
        )

    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Write the tables of all samples; return the mean of the first metric."""
        if self.sampler.num_known:
            log.info("outputs of %d inputs are from the sample cache", self.sampler.num_known)
        samples = self.samples_table()
        names = [name for name in samples.columns if name not in self.text_columns]
        evaluation = self.config.evaluation
        shape = len(self.inputs), evaluation.num_samples_per_input
        if isinstance(self.sampler, ServedModel):
            self.sampler.tell_of_all(samples["output"].to_numpy(object).reshape(shape).tolist())
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
        if evaluation.gradients:
            table = table.assign(**self._squared_norms(rewards))
        write_table(self.folder.table("samples"), samples)
        write_table(self.folder.table("reward_stats"), table)
        write_json(self.folder.path / "reward_stats.json", summary)
        if self.config.published_format:
            published_samples.write(self.folder.path, self.config, self.inputs.index, samples)
        for name, values in rewards.items():
            log.info("%s: mean %.4f, std over all samples %.4f", name, values.mean(), values.std())
        score = float(rewards[names[0]].mean())
        padding = self.sampler.padding
        further = {} if padding is None else {"padding": padding}
        write_summary(self.folder, score, names[0], **further, metrics=names)
        self.context.once_done(self._clear)
        return score

    def _squared_norms(self, rewards: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float]]:
        """Return the squared norms of the expected gradients, as columns of the statistics."""
        found = [
            squared_norm(of_input, self.products[row])
            for of_metric in rewards.values()
            for row, of_input in enumerate(of_metric)
        ]
        return {
            SQUARED_NORM: [one.value for one in found],
            STANDARD_ERROR: [one.standard_error for one in found],
        }

    def _clear(self) -> None:
        """Remove what the tables have."""
        self.store.clear()
        shutil.rmtree(self._drawn_folder, ignore_errors=True)

    def _groups(self) -> dict[str, NDArray[np.int64]] | None:
        """Return the positions of inputs by the value of their metadata, if that is asked for."""
        name = self.config.evaluation.group_by
        if name is None:
            return None
        return groups([sample.metadata for sample in self.inputs.samples], name)


class _Progress:
    """Reporter of the run's progress and speed."""

    def __init__(self, context: Context, total: int) -> None:
        self.done = 0
        self._context = context
        self._total = total
        self._made = 0
        self._started = self._said_at = time.monotonic()

    def tell(self, doing: str) -> None:
        """Tell the number of finished inputs, and what is being done."""
        self._context.progress(self.done, self._total, doing)

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
