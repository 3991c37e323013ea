"""A run of supervised finetuning."""

from __future__ import annotations

from common.experiment import Context
from common.training.seeding import seed_everything
from grue.experiments.finetune.base import FinetuneRun, load_policy
from grue.experiments.finetune.config import SupervisedConfig
from grue.supervised import checkpoints as trainer_checkpoints
from grue.supervised import trainer as supervised
from grue.supervised.arguments import check_count, training_arguments
from grue.supervised.config import SupervisedAlg
from grue.supervised.rows import Rows, make_rows


class SupervisedRun(FinetuneRun):
    """Evaluates, trains with the Trainer, evaluates again."""

    def __init__(self, config: SupervisedConfig, alg: SupervisedAlg, context: Context) -> None:
        super().__init__(config, context, load_policy(config, context), alg.model_name)
        self.alg = alg

    def run(self) -> float | None:
        """Make what is left of the run."""
        seed_everything(self.context.seed)
        rows = self._rows()
        check_count(len(rows), self.alg.training_args)
        arguments = training_arguments(
            self.alg.training_args,
            self.folder.checkpoints,
            seed=self.context.seed,
            device=self.policy.device,
        )
        trainer_checkpoints.go_on(self.folder.checkpoints, self.tracker)
        try:
            if not self.tracker.has_start():
                self.tracker.add(0, 0.0, self.evaluate_everywhere("epoch_0"))
            state = supervised.train(
                self.policy,
                rows,
                arguments,
                context=self.context,
                tracker=self.tracker,
                evaluate=lambda label: self.evaluate("val", label),
                tell_of_evaluations=self.tell_of_evaluations,
            )
            epoch = float(state.epoch or 0.0)
            found = self.evaluate_everywhere(f"epoch_{epoch:g}")
            self.tracker.add(state.global_step, epoch, found)
            return self.finish(found)
        finally:
            self.close()

    def _rows(self) -> Rows:
        tokenizer = self.policy.tokenizer
        longest = self.policy.longest or tokenizer.model_max_length
        return make_rows(
            self.train_inputs.samples,
            tokenizer,
            self.alg.model_type,
            limit=min(longest, tokenizer.model_max_length),
            join_with_blank=self.alg.join_with_blank,
            append_eos=self.alg.append_eos,
            mask_prompt=self.alg.mask_prompt,
        )
