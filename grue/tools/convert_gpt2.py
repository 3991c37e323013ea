"""Converter of OpenAI's published GPT-2 files to a folder in Hugging Face layout.

    python -m grue.tools.convert_gpt2 FOLDER OUTPUT

FOLDER holds hparams.json, encoder.json, vocab.bpe and a TensorFlow checkpoint (model.ckpt.index,
model.ckpt.data-...), as in gpt-2/models/124M; OUTPUT is created, and can be used as model_name.
TensorFlow is not needed.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from common.argument_parser import Parser
from common.errors import UserError
from common.files.no_space import NoSpace
from common.process.console import outlive_readers
from common.run.folder import replacing_folder
from grue.tools.gpt2_checkpoint import Sizes, weights
from grue.tools.tensor_bundle import read_bundle

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

_SIZES, _VOCABULARY, _MERGES = "hparams.json", "encoder.json", "vocab.bpe"
_INDEX = "model.ckpt.index"
_END = "<|endoftext|>"


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a folder; return 0, or 2 after an error message."""
    description, _, usage = (__doc__ or "").partition("\n")
    parser = Parser(prog="python -m grue.tools.convert_gpt2", description=description, epilog=usage)
    parser.add_argument("folder", type=Path, help="OpenAI's files")
    parser.add_argument("output", type=Path, help="the folder to make")
    try:
        args = parser.parse_args(arguments)
        convert(args.folder, args.output)
    except (UserError, NoSpace) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.output} can be given as model_name")
    return 0


def convert(folder: Path, output: Path) -> None:
    """Write ``output``, completely or not at all.

    Raises:
        UserError: ``output`` exists, a file is missing or damaged, or the checkpoint is of another
            model.
    """
    if output.exists():
        raise UserError(f"'{output}': is there already; name a folder that is not")
    _check_files(folder)
    sizes = _sizes(folder / _SIZES)
    with replacing_folder(output) as made:
        end_token = save_tokenizer(folder, sizes, made)
        variables = read_bundle(folder / _INDEX.removesuffix(".index"))
        make_model(variables, sizes, end_token).save_pretrained(made)


def save_tokenizer(folder: Path, sizes: Sizes, output: Path) -> int:
    """Write GPT-2's tokenizer with the folder's vocabulary and merges to ``output``.

    Returns:
        The token that ends a text.

    Raises:
        UserError: they are damaged, or of another size than in ``sizes``.
    """
    from transformers import GPT2Tokenizer

    vocabulary = _json(folder / _VOCABULARY)
    if not isinstance(vocabulary, dict) or _END not in vocabulary:
        raise UserError(f"'{folder / _VOCABULARY}': expected an object of tokens and their ids, "
                        f"with '{_END}'")  # fmt: skip
    if len(vocabulary) != sizes.n_vocab:
        raise UserError(f"'{folder / _VOCABULARY}': has {len(vocabulary)} tokens, and {_SIZES} "
                        f"says {sizes.n_vocab}; give files of one model")  # fmt: skip
    shutil.copyfile(folder / _VOCABULARY, output / "vocab.json")
    shutil.copyfile(folder / _MERGES, output / "merges.txt")
    try:
        made = GPT2Tokenizer.from_pretrained(output, model_max_length=sizes.n_ctx)
    except Exception as error:  # of the library's own kinds
        raise UserError(f"'{folder}': {_VOCABULARY} and {_MERGES} make no tokenizer "
                        f"({error})") from error  # fmt: skip
    made.save_pretrained(output)
    return int(vocabulary[_END])


def make_model(
    variables: Mapping[str, NDArray[Any]], sizes: Sizes, end_token: int
) -> GPT2LMHeadModel:
    """Return the model with the checkpoint's variables.

    Raises:
        UserError: see `grue.tools.gpt2_checkpoint.weights`.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=sizes.n_vocab,
        n_positions=sizes.n_ctx,
        n_embd=sizes.n_embd,
        n_layer=sizes.n_layer,
        n_head=sizes.n_head,
        activation_function="gelu_new",
        bos_token_id=end_token,
        eos_token_id=end_token,
    )
    found = {name: torch.from_numpy(value) for name, value in weights(variables, sizes).items()}
    model = GPT2LMHeadModel(config)
    model.load_state_dict({**found, "lm_head.weight": found["transformer.wte.weight"]})
    return model


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"'{folder}': there is no such folder")
    missing = [
        name for name in (_SIZES, _VOCABULARY, _MERGES, _INDEX) if not (folder / name).is_file()
    ]
    if missing:
        here = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        raise UserError(f"'{folder}': has no {', '.join(missing)}; found {here}")


def _sizes(file: Path) -> Sizes:
    try:
        return Sizes.of(_json(file))
    except UserError as error:
        raise UserError(f"'{file}': {error}") from None


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"'{file}': cannot be read ({error})") from error


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
