"""An experiment whose fits end as their key says: for the contract of executors."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator

from torch import Tensor, nn

from common import distributed
from common.errors import Problem
from common.experiment import Context, Experiment
from tests import toy
from tests.hanging import hang_in_c

MARK = "acting"
"""Name of a file in the folder of a run that does what its key says."""


def _hang() -> None:
    while True:
        try:
            time.sleep(3600)
        except BaseException:  # whatever asks it to end
            continue


ACTS: dict[str, Callable[[], object]] = {
    "": lambda: None,
    "exit": lambda: os._exit(3),
    "hang": _hang,
    "hang in C": hang_in_c,
    "die": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}


class ActingConfig(toy.ToyConfig):
    """Fits y = 2x, unless it does something else."""

    act: str = ""
    """One of `ACTS`, done before the second epoch of every attempt, once `MARK` is there."""

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """No problem: the ranks only meet."""
        yield from ()


class ActingTrainer(toy.ToyTrainer):
    def batches(self) -> Iterable[Tensor]:
        assert isinstance(self.config, ActingConfig)
        if self.epoch == 1:
            (self.context.folder.path / MARK).touch()
            ACTS[self.config.act]()
        return super().batches()


class ActingExperiment(toy.ToyExperiment):
    def make_trainer(self, data: None, model: nn.Module) -> ActingTrainer:
        return ActingTrainer(self.config, self.context, model)


def run(config: ActingConfig, context: Context) -> float | None:
    """Makes the fit; ranks that share a run only say which GPUs they see."""
    if distributed.world_size() == 1:
        return ActingExperiment(config, context).run()
    seen = distributed.all_gather([os.environ.get("CUDA_VISIBLE_DEVICES", "all")])
    if distributed.is_main():
        (context.folder.path / "gpus.txt").write_text("\n".join(seen))
    return float(len(seen))


EXPERIMENT = Experiment(
    config=ActingConfig,
    run="tests.common.executors.acting:run",
    preflight="tests.toy:preflight",
    files={"checkpoint": "checkpoints/last.pt"},
)
