"""Samplers of an extraction: the run's own model, or a server that has it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from common.experiment import Context
from common.hashing import fingerprint
from grue.experiments.extract.answers import Answers
from grue.experiments.extract.config import ExtractAlg, ExtractConfig, ServedAlg
from grue.experiments.extract.drawn import Drawer, folder_of
from grue.models.loading import load_model, load_tokenizer
from grue.policies.chat import are_chats
from grue.policies.policy import Policy, by_length
from grue.policies.prompt_encoder import Tokens
from grue.policies.server.client import Output, Request, ask
from grue.policies.server.config import sampling_keys
from grue.random_streams import Occasion, seed_of
from grue.tasks.inputs import Inputs

log = logging.getLogger(__name__)

_SEEDS = 2**31
"""Number of seeds that every server can read."""


class Sampler(Protocol):
    """Source of K outputs for each input."""

    @property
    def num_known(self) -> int:
        """Number of inputs whose outputs were found on the disk."""

    @property
    def batches(self) -> Sequence[Sequence[int]]:
        """Rows of the inputs that are sampled together, batch by batch."""

    @property
    def padding(self) -> float | None:
        """Share of prompt positions that are padding; None if that is not known."""

    def outputs(self, rows: Sequence[int]) -> list[Output]:
        """Return K outputs of each of the inputs at ``rows``, input by input.

        Raises:
            Interrupted: a stop was asked for.
        """


class OwnModel:
    """Sampler from a model that this process loads."""

    def __init__(
        self,
        config: ExtractConfig,
        inputs: Inputs,
        context: Context,
        *,
        device: torch.device,
        own_folder: Path,
    ) -> None:
        """Load the model, and put prompts of like length into batches."""
        alg, tokenizer = config.alg, config.tokenizer
        assert isinstance(alg, ExtractAlg) and tokenizer is not None, "as the keys were checked"
        self._settings = alg.generation_kwargs
        model = load_model(
            alg.model_name, alg.model_type, alg.policy, seed=context.seed, revision=alg.revision
        )
        self.policy = Policy(model, load_tokenizer(tokenizer), device)
        self.prompts = self.policy.read(
            inputs.samples,
            self._settings,
            tokenizer.max_length,
            tokenizer.truncation_side,
            level=logging.WARNING,
        )
        self._drawer = Drawer(
            config,
            alg,
            self.policy,
            self.prompts,
            numbers=inputs.index,
            seed=context.seed,
            own_folder=own_folder,
        )
        lengths = [len(prompt) for prompt in self.prompts]
        self.batches = list(by_length(lengths, config.evaluation.eval_batch_size))
        self.padding = padding(self.batches, lengths)

    @property
    def num_known(self) -> int:
        """Number of inputs whose outputs were found on the disk."""
        return self._drawer.num_known

    def outputs(self, rows: Sequence[int]) -> list[Output]:
        """Return the outputs; see `Sampler.outputs`."""
        tokens = self.tokens(rows)
        texts = self.policy.scored_texts(tokens, self._settings)
        return [Output(text, len(ids)) for text, ids in zip(texts, tokens, strict=True)]

    def tokens(self, rows: Sequence[int]) -> list[Tokens]:
        """Return the tokens of the outputs, with their ends of sequence."""
        return [output for of_input in self._drawer.outputs(rows) for output in of_input]

    def products(self, row: int) -> NDArray[np.float64]:
        """Return [K, K] inner products of the scores of an input's outputs."""
        return self._drawer.products(row)


class ServedModel:
    """Sampler from a model that a server has."""

    padding = None

    def __init__(
        self,
        config: ExtractConfig,
        inputs: Inputs,
        context: Context,
        *,
        device: torch.device,
        own_folder: Path,
    ) -> None:
        """Put the inputs into batches, in their order.

        Raises:
            UserError: only some inputs are chat messages.
        """
        assert isinstance(config.alg, ServedAlg), "as the keys were checked"
        are_chats(inputs.samples)
        self._alg, self._inputs, self._context = config.alg, inputs, context
        self._num_samples = config.evaluation.num_samples_per_input
        size, rows = config.evaluation.eval_batch_size, range(len(inputs))
        self.batches = [rows[i : i + size] for i in rows[::size]]
        self.num_known = 0
        shared = config.evaluation.sample_cache
        folder = own_folder if shared is None else folder_of(Path(shared), self._cached_by())
        self._answers = Answers(folder, context.folder.path)

    def _cached_by(self) -> dict[str, Any]:
        """Return all but the prompt that outputs depend on."""
        server = {"url": self._alg.server.url, "extra_body": self._alg.server.extra_body}
        return {
            "server": server,
            "model_name": self._alg.model_name,
            "generation_kwargs": self._alg.generation_kwargs.model_dump(mode="json"),
            "seed": self._context.seed,
        }

    def outputs(self, rows: Sequence[int]) -> list[Output]:
        """Return the outputs; each is kept as soon as it is there, and never asked for again."""
        requests = {row: self._requests(row) for row in rows}
        missing = {
            key: request
            for of_input in requests.values()
            for key, request in of_input.items()
            if key not in self._answers
        }
        self.num_known += sum(missing.keys().isdisjoint(each) for each in requests.values())
        ask(missing, self._alg.model_name, self._alg.server, keep=self._answers.add,
            stop_requested=self._context.stop_requested)  # fmt: skip
        found = [
            [output for key in of_input for output in self._answers[key]]
            for of_input in requests.values()
        ]
        processed = self._alg.generation_kwargs.processed
        return [
            Output(processed(output.text), output.num_tokens)
            for of_input in found
            for output in of_input
        ]

    def _requests(self, row: int) -> dict[str, Request]:
        """Return the requests for the outputs of an input by their hashes, in order."""
        sample, index = self._inputs.samples[row], self._inputs.index[row]
        prompt = sample.prompt if sample.messages is None else sample.messages
        keys = {**sampling_keys(self._alg.generation_kwargs), **self._alg.server.extra_body}
        most = self._alg.server.num_samples_per_request
        found: dict[str, Request] = {}
        for first in range(0, self._num_samples, most):
            seed = seed_of(Occasion.EXTRACTION, self._context.seed, index, first) % _SEEDS
            count = min(self._num_samples - first, most)
            request = Request(prompt, count, {"seed": seed, **keys})
            found[fingerprint([prompt, index, first, count])] = request
        return found

    def tell_of_all(self, outputs: Sequence[Sequence[str]]) -> None:
        """Warn where all K outputs of each input of the run are equal."""
        if self._num_samples > 1 and all(len(set(of_input)) == 1 for of_input in outputs):
            log.warning(
                "all %d outputs of each of %d inputs are equal: either the model is certain, or "
                "the server takes the most probable tokens or one seed for all; see 'A server' in "
                "docs/text_runs.md", self._num_samples, len(outputs),
            )  # fmt: skip


def padding(batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> float:
    """Return the share of prompt positions that are padding."""
    positions = sum(len(rows) * max(lengths[row] for row in rows) for rows in batches)
    return 1 - sum(lengths) / positions
