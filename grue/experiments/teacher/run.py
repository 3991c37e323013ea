"""Run that measures reward models as teachers: outputs sampled once, scored by all of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import UserError
from common.experiment import Context
from common.run.folder import write_json, write_table
from grue.experiments.extract.run import Extraction
from grue.experiments.extract.samplers import OwnModel
from grue.experiments.teacher import tables
from grue.experiments.teacher.config import TRUTH, TeacherConfig
from grue.experiments.teacher.measures import best_against_others
from grue.experiments.teacher.tables import REWARD, Grid
from grue.parts.token_numbers import summed
from grue.policies.prompt_encoder import Tokens
from grue.policies.server.client import Output
from grue.rewards.checked import checked
from grue.rl.reward_accuracy import pairs_by_truth
from grue.tasks.choices.rows import Choice, choice_of
from grue.tasks.sources.local_files import read_rows
from grue.texts import Texts

if TYPE_CHECKING:
    import pandas as pd

    from grue.metrics.metric import Scores

log = logging.getLogger(__name__)

NORMALIZATION = "normalization.json"
POLICY, DATA = "policy", "data"
"""Sources of outputs."""


def run(config: TeacherConfig, context: Context) -> float | None:
    """Measure the rewards; the score is the mean true reward of the policy's outputs."""
    return Teacher(config, context).run()


class Teacher(Extraction):
    """Measuring of rewards: a batch has outputs of the policy, and responses of the data."""

    config: TeacherConfig
    sampler: OwnModel

    text_columns = (*Extraction.text_columns, "log_prob", "source")

    def load_data(self) -> None:
        """Read the inputs with their responses, and the outputs of a table."""
        super().load_data()
        self.choices = [
            choice_of(sample) if "responses" in sample.metadata else None
            for sample in self.inputs.samples
        ]
        self.given = None if self.config.samples is None else self._given(self.config.samples)

    def build_model(self) -> None:
        """Load the policy and make the rewards, which load their models when they are needed."""
        super().build_model()
        self.rewards = {TRUTH: self.config.ground_truth.build()} | {
            f"{REWARD}{reward.name}": reward.build() for reward in self.config.rewards
        }

    def _index(self, rows: Sequence[int]) -> list[int]:
        """Return the positions of inputs in their split, once for each output and response."""
        return [self.inputs.index[row] for row in self._all_places(rows)[0]]

    def _all_places(self, rows: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the input of each output of a batch, then of each response, and its number."""
        repeated, numbers = self.places(rows)
        responses = [(row, number) for row in rows for number in range(len(self._responses(row)))]
        return (
            repeated + [row for row, _ in responses],
            numbers + [number for _, number in responses],
        )

    def _responses(self, row: int) -> Sequence[str]:
        choice = self.choices[row]
        return () if choice is None else choice.responses

    def _sampled(self, rows: Sequence[int]) -> pd.DataFrame:
        """Return outputs of a batch of inputs, then their responses, with log-probabilities."""
        responses = [text for row in rows for text in self._responses(row)]
        if self.given is None:
            tokens = self.sampler.tokens(rows)
            texts = self.sampler.policy.scored_texts(tokens, self.config.alg.generation_kwargs)
        else:
            texts = [text for row in rows for text, _ in self.given[row]]
            counts = [count for row in rows for _, count in self.given[row]]
            tokens = self._tokens(texts, counts)
        tokens += self._tokens(responses, [None] * len(responses))
        places, numbers = self._all_places(rows)
        outputs = [
            Output(text, len(ids)) for text, ids in zip([*texts, *responses], tokens, strict=True)
        ]
        return self.frame(places, numbers, outputs).assign(
            log_prob=self._log_probs([self.sampler.prompts[row] for row in places], tokens),
            source=[POLICY] * len(texts) + [DATA] * len(responses),
        )

    def _tokens(self, texts: Sequence[str], counts: Sequence[int | None]) -> list[Tokens]:
        """Return the tokens of given texts with their ends of sequence, at most those of an output.

        A text gets no end if the number of tokens that it was drawn with shows that it was cut. A
        text without such a number is taken to have ended.
        """
        tokenizer = self.sampler.policy.tokenizer
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        most = self.sampler.policy.lengths(self.config.alg.generation_kwargs).most
        encoded = (
            tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts
        )
        return [
            [*found, *(end if _ended(len(found), count, most) else [])][:most]
            for found, count in zip(encoded, counts, strict=True)
        ]

    @torch.no_grad()
    def _log_probs(self, prompts: Sequence[Tokens], outputs: Sequence[Tokens]) -> list[float]:
        """Return [N] log-probabilities of whole outputs under the policy without filters, in nats.

        As many outputs are read at a time as prompts in sampling.
        """
        size = self.config.evaluation.eval_batch_size
        temperature = self.config.alg.generation_kwargs.temperature
        found: list[float] = []
        for start in range(0, len(outputs), size):
            part = slice(start, start + size)
            of_part = self.sampler.policy.log_probs(prompts[part], outputs[part], temperature)
            found += of_part.double().sum(1).tolist()
        return found

    def scores_of(self, texts: Texts) -> Iterator[Mapping[str, Scores]]:
        """Yield the true rewards, those of each reward, then each metric."""
        for name, reward in self.rewards.items():
            yield {name: summed(checked(reward, texts))}
        yield from super().scores_of(texts)

    def samples_table(self) -> pd.DataFrame:
        """Return the policy's outputs, in the order of the inputs."""
        return self._outputs_of(POLICY)

    def _outputs_of(self, source: str) -> pd.DataFrame:
        outputs = super().samples_table()
        return outputs[outputs["source"] == source]

    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Write the tables of outputs and of measures, and the constants of normalisation."""
        score = super().summarise(found)
        samples, responses = (self._grid(self._outputs_of(of)) for of in (POLICY, DATA))
        pairs = pairs_by_truth(samples.column(TRUTH), keep_ties=self.config.ties != "left_out")
        measures = list(tables.of_samples(samples, pairs))
        effective = {"on_policy": tables.effective_pairs(samples, pairs)}
        if len(responses.inputs):
            write_table(self.folder.table("responses"), self._outputs_of(DATA))
            best = best_against_others(responses.column(TRUTH), self._preferred(responses))
            measures += tables.of_responses(responses, samples, best)
            effective["off_policy"] = tables.effective_pairs(responses, best)
        ids = [sample.id for sample in self.inputs.samples]
        of_all, by_input = tables.tables(measures, ids, seed=self.context.seed)
        write_json(self.folder.path / NORMALIZATION, tables.normalizations(samples))
        write_json(self.folder.path / "effective_pairs.json", effective)
        write_table(self.folder.table("teachers"), of_all)
        for line in tables.lines(of_all):
            log.info(line)
        write_table(self.folder.table("teachers_by_input"), by_input)
        return score

    def _grid(self, outputs: pd.DataFrame) -> Grid:
        return Grid(outputs.assign(row=outputs["index"].map(self.rows)))

    def _preferred(self, responses: Grid) -> NDArray[np.int64] | None:
        """Return the responses that the data prefer; None if the true reward decides.

        Raises:
            UserError: the data prefer none.
        """
        if self.config.preferred == "ground_truth":
            return None
        best = [_best(self.choices[row]) for row in responses.inputs]
        if None in best:
            raise UserError("'preferred' = 'data': an input has no preferred response; "
                            "take 'ground_truth'")  # fmt: skip
        return np.array(best)

    def _given(self, path: str) -> list[list[tuple[str, int | None]]]:
        """Return the K outputs of each input in a table, with their numbers of tokens if known.

        Raises:
            UserError: the table has fewer for an input.
        """
        num_samples = self.config.evaluation.num_samples_per_input
        by_prompt: dict[str, list[tuple[str, int | None]]] = defaultdict(list)
        for row in read_rows(Path(path)):
            if not {"prompt", "output"} <= row.keys():
                raise UserError(f"'samples' = '{path}': needs the columns 'prompt' and 'output'; "
                                f"found {', '.join(row)}")  # fmt: skip
            by_prompt[row["prompt"]].append((row["output"], _count(row, path)))
        found = []
        for sample in self.inputs.samples:
            outputs = by_prompt[sample.prompt]
            if len(outputs) < num_samples:
                raise UserError(
                    f"'samples' = '{path}': has {len(outputs)} outputs for the prompt "
                    f"{sample.prompt[:60]!r}, and 'evaluation.num_samples_per_input' asks for "
                    f"{num_samples}; lower it, or choose inputs that the table has"
                )
            found.append([outputs.pop(0) for _ in range(num_samples)])
        return found


def _count(row: Mapping[str, Any], path: str) -> int | None:
    """Return the number of tokens of a row, which is text in a CSV file; None for an empty cell.

    Raises:
        UserError: the cell holds something else.
    """
    cell = row.get("num_tokens")
    if cell is None or cell == "" or cell != cell:
        return None
    try:
        return int(float(cell))
    except (TypeError, ValueError):
        raise UserError(f"'samples' = '{path}': 'num_tokens' = {cell!r} is no number; mend it, or "
                        "leave out the column") from None  # fmt: skip


def _ended(length: int, count: int | None, most: int) -> bool:
    """Return whether an output ended before it was cut.

    One that was cut has the largest number of tokens, and its text may be read as fewer. If it is
    read as one fewer, that one is taken for the end.

    Args:
        length: number of tokens of its text.
        count: number of tokens that it was drawn as, with its end; None if that is not known.
        most: largest number of tokens of an output.
    """
    return count is None or count < most or length + 1 == count


def _best(choice: Choice | None) -> int | None:
    return None if choice is None else choice.best
