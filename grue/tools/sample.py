"""Samples of a trained policy: ``python -m grue.tools.sample --model FOLDER``.

Prompts are those of a task's test split, in random order, or given texts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.argument_parser import Parser
from common.errors import UserError
from grue.tools.flags import at_least

if TYPE_CHECKING:
    from grue.policies.generation_config import GenerationConfig
    from grue.tasks.task import Sample
    from grue.tools.trained_policy import TrainedPolicy

PROGRAM = "python -m grue.tools.sample"
LINE = "=" * 80
_NEWLINE = "\u23ce"
_EPILOG = """\
examples:
  python -m grue.tools.sample --model outputs/quickstart/preferences/policy_0-1a2b3c4d
      four queries of the task's test split, with the settings of the run
  python -m grue.tools.sample --model gpt2 --text "Once upon a time" --num_samples 3
      three outputs for one text, of a model of the hub
  python -m grue.tools.sample --model outputs/exps/plan/sft-1a2b3c4d/model --max_new_tokens 24 \\
      --datapool '{"id": "jsonl", "args": {"path": "data"}}' --num_samples 0 | less
      one output after the other, for queries of other data, until interrupted
  python -m grue.tools.sample --model gpt2 --plan experiment_plans/preferences/tldr.json
      the model with which a plan begins, for the plan's queries
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print samples; return 0, also when interrupted, or 2 after an error."""
    try:
        args = _parser().parse_args(arguments)
        for query, response in _samples(args):
            print(LINE, query, response.replace("\n", _NEWLINE), sep="\n", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()  # a reader that has gone is no error
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description=f"Prints a line of {len(LINE)} '=', a query, and what a model writes for it,\n"
        f"whose line breaks are shown as {_NEWLINE}; again and again.",
        epilog=_EPILOG,
    )
    parser.add_argument("--model", required=True,
                        help="folder of a finetuning run, model folder in Hugging Face layout, or "
                        "hub id")  # fmt: skip
    parser.add_argument("--plan", type=Path,
                        help="plan whose last finetuning run gives task and settings; by "
                        "default the model's own run does")  # fmt: skip
    queries = parser.add_mutually_exclusive_group()
    queries.add_argument("--text", action="append", help="a query; may be given several times")
    queries.add_argument("--datapool", help="task whose queries are drawn, as a JSON object or a "
                         "file that holds one; by default the run's own")  # fmt: skip
    parser.add_argument("--split", choices=("train", "val", "test"), default="test",
                        help="split of the task (default: test)")  # fmt: skip
    parser.add_argument("--num_samples", type=at_least(int, 0), default=4,
                        help="number of outputs; 0 for no end (default: 4)")  # fmt: skip
    parser.add_argument("--batch_size", type=at_least(int, 1), default=4,
                        help="number of outputs sampled together (default: 4)")  # fmt: skip
    parser.add_argument("--temperature", type=at_least(float, 0), default=1.0,
                        help="divisor of the logits; 0 takes the most probable tokens "
                        "(default: 1.0, whatever the run's is)")  # fmt: skip
    parser.add_argument("--max_new_tokens", type=at_least(int, 1),
                        help="most tokens of an output; by default the run's")  # fmt: skip
    parser.add_argument("--seed", type=at_least(int, 0), default=0,
                        help="seed of queries and outputs (default: 0)")  # fmt: skip
    parser.add_argument("--gpu_id", type=at_least(int, 0),
                        help="GPU to use; by default the CPU is used")  # fmt: skip
    return parser


def _samples(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield prompts with outputs; the same seed gives the same ones, whatever the batch size."""
    from grue.random_streams import Occasion
    from grue.tools.trained_policy import load_trained_policy

    trained = load_trained_policy(args.model, args.plan, args.gpu_id)
    settings = _settings(trained, args)
    longest, side = trained.max_prompt_length, trained.prompt_side
    queries = _queries(trained, args)
    numbered = itertools.islice(enumerate(queries), args.num_samples or None)
    while batch := list(itertools.islice(numbered, args.batch_size)):
        numbers, samples = zip(*batch, strict=True)
        prompts = trained.policy.read(samples, settings, longest, side)
        outputs = trained.policy.drawn(
            prompts, 1, settings, inputs=numbers, occasion=Occasion.SAMPLE, seed=args.seed
        )
        texts = trained.policy.decode([output for (output,) in outputs])
        yield from zip([sample.prompt for sample in samples], texts, strict=True)


def _settings(trained: TrainedPolicy, args: argparse.Namespace) -> GenerationConfig:
    """Return the run's generation settings, if any, overridden by the command line's."""
    most = args.max_new_tokens or trained.generation.max_new_tokens
    if most is None:
        raise UserError(
            "--max_new_tokens: needed for a model folder without --plan, which does not give it"
        )
    changes = {
        "do_sample": args.temperature > 0,
        "temperature": args.temperature or 1.0,
        "num_beams": 1,
        "max_new_tokens": most,
    }
    return trained.generation.model_copy(update=changes)


def _queries(trained: TrainedPolicy, args: argparse.Namespace) -> Iterator[Sample]:
    """Yield the given texts in turn, or the task's prompts, drawn again when all have been used."""
    import numpy as np

    from grue.tasks.inputs import load_inputs
    from grue.tasks.task import Sample

    if args.text:
        yield from itertools.cycle([Sample("text", text, ()) for text in args.text])
        return
    config = trained.datapool if args.datapool is None else _datapool(args.datapool)
    if config is None:
        raise UserError(
            "--text, --datapool or --plan: needed for a model folder, which has no task"
        )
    samples = load_inputs(config, args.split, seed=args.seed).samples
    draw = np.random.default_rng(args.seed)
    while True:
        yield from (samples[row] for row in draw.permutation(len(samples)))


def _datapool(given: str) -> Any:
    from common.config.resolve import resolve
    from grue.tasks.config import DatapoolConfig

    try:
        text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
        values = json.loads(text)
    except (OSError, ValueError) as error:
        raise UserError(
            f'--datapool: {error}; give an object such as \'{{"id": "imdb"}}\', or a file'
        ) from error
    config, problems = resolve(DatapoolConfig, values)
    if config is None:
        raise UserError("\n".join(f"--datapool: {problem}" for problem in problems))
    return config


if __name__ == "__main__":
    sys.exit(main())
