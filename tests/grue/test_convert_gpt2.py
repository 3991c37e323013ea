"""OpenAI's GPT-2 files become a folder whose model computes what the files say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from common.errors import UserError
from grue.experiments.new_model.tokenizer import byte_pairs
from grue.tools import convert_gpt2
from grue.tools.gpt2_checkpoint import Sizes, weights
from grue.tools.tensor_bundle import read_bundle
from tests.conftest import PROJECT

SIZES = Sizes(n_vocab=300, n_ctx=16, n_embd=8, n_head=2, n_layer=3)
CHECKPOINT = PROJECT / "tests/golden/gpt2_checkpoint"
TEXTS = ["the cat sat on the mat", "the dog's lead, and 12 more"]
Variables = dict[str, NDArray[np.float32]]


def made_variables(sizes: Sizes = SIZES) -> Variables:
    """Random ones, with OpenAI's names and shapes."""
    draw, d = np.random.RandomState(0), sizes.n_embd
    shapes: dict[str, tuple[int, ...]] = {"wte": (sizes.n_vocab, d), "wpe": (sizes.n_ctx, d)}
    shapes |= {"ln_f/g": (d,), "ln_f/b": (d,)}
    for layer in range(sizes.n_layer):
        h = f"h{layer}"
        shapes |= {f"{h}/{norm}/{kind}": (d,) for norm in ("ln_1", "ln_2") for kind in "gb"}
        for name, width, out in (("attn/c_attn", d, 3 * d), ("attn/c_proj", d, d),
                                 ("mlp/c_fc", d, 4 * d), ("mlp/c_proj", 4 * d, d)):  # fmt: skip
            shapes |= {f"{h}/{name}/w": (1, width, out), f"{h}/{name}/b": (out,)}
    return {
        f"model/{name}": draw.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def logits_by_hand(v: Variables, tokens: list[int], sizes: Sizes = SIZES) -> NDArray[Any]:
    """[P, V] GPT-2's forward pass (Radford et al., 2019), in double precision."""

    def norm(x: Any, name: str) -> Any:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * v[f"{name}/g"] + v[f"{name}/b"]

    def layer(x: Any, name: str) -> Any:
        return x @ v[f"{name}/w"][0].astype(np.float64) + v[f"{name}/b"]

    def softmax(x: Any) -> Any:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    count = len(tokens)
    x = v["model/wte"][tokens].astype(np.float64) + v["model/wpe"][:count]
    later = np.triu(np.full((count, count), -np.inf), 1)
    for number in range(sizes.n_layer):
        h = f"model/h{number}"
        qkv = layer(norm(x, f"{h}/ln_1"), f"{h}/attn/c_attn")
        heads = []
        for q, k, value in zip(*(np.split(part, sizes.n_head, -1) for part in np.split(qkv, 3, -1)),
                               strict=True):  # fmt: skip
            heads.append(softmax(q @ k.T / np.sqrt(q.shape[-1]) + later) @ value)
        x = x + layer(np.concatenate(heads, -1), f"{h}/attn/c_proj")
        m = layer(norm(x, f"{h}/ln_2"), f"{h}/mlp/c_fc")
        gelu = 0.5 * m * (1 + np.tanh(np.sqrt(2 / np.pi) * (m + 0.044715 * m**3)))
        x = x + layer(gelu, f"{h}/mlp/c_proj")
    found: NDArray[Any] = norm(x, "model/ln_f") @ v["model/wte"].T
    return found


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder of OpenAI's files but for the checkpoint's data."""
    made = tmp_path / "made"
    byte_pairs(iter(TEXTS * 5), SIZES.n_vocab, 16).save_pretrained(made)
    model = json.loads((made / "tokenizer.json").read_text())["model"]
    vocabulary = dict(model["vocab"])
    while len(vocabulary) < SIZES.n_vocab:
        vocabulary[f"unused{len(vocabulary)}"] = len(vocabulary)
    folder = tmp_path / "124M"
    folder.mkdir()
    (folder / "hparams.json").write_text(json.dumps(vars(SIZES)))
    (folder / "encoder.json").write_text(json.dumps(vocabulary))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (folder / "model.ckpt.index").touch()
    return folder


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    """What is read of the checkpoint, whatever its files hold."""
    found = made_variables()
    monkeypatch.setattr(convert_gpt2, "read_bundle", lambda prefix: found)
    return found


def check_folder(output: Path, v: Variables, published: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float64)
    tokens = [5, 0, 299, 7, 7, 123]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    np.testing.assert_allclose(logits.numpy(), logits_by_hand(v, tokens), rtol=0, atol=1e-10)
    assert model.lm_head.weight is model.transformer.wte.weight
    tokenizer = AutoTokenizer.from_pretrained(output)
    made = AutoTokenizer.from_pretrained(published.parent / "made")
    for text in (*TEXTS, "über\n\nall <|endoftext|>"):
        assert tokenizer(text)["input_ids"] == made(text)["input_ids"]
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.model_max_length == model.config.n_positions == 16
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert tokenizer.eos_token_id == model.config.eos_token_id == end


def test_the_folder_is_the_published_model(
    published: Path, variables: Variables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new/gpt2"
    assert convert_gpt2.main([str(published), str(output)]) == 0
    assert "gpt2 can be given as model_name" in capsys.readouterr().out
    check_folder(output, variables, published)
    assert [path.name for path in output.parent.iterdir()] == ["gpt2"]
    names = {path.name for path in output.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "vocab.json"} <= names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("model/h1/ln_1/g"), "the checkpoint has no 'model/h1/ln_1/g'; give files"),
        (lambda v: v.update({"model/h3/ln_1/g": v["model/ln_f/g"]}),
         "the checkpoint has 'model/h3/ln_1/g', which is none of a GPT-2 of 3 layers"),
        (lambda v: v.update({"model/wpe": v["model/wpe"][:9]}),
         r"'model/wpe' is \[9, 8\], and hparams.json makes it \[16, 8\]"),
        (lambda v: v.update({"model/h0/mlp/c_fc/w": v["model/h0/mlp/c_proj/w"]}),
         r"'model/h0/mlp/c_fc/w' is \[1, 32, 8\], and hparams.json makes it \[8, 32\]"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_model_leaves_nothing(
    published: Path, variables: Variables, tmp_path: Path, change: Any, message: str
) -> None:
    change(variables)
    with pytest.raises(UserError, match=message):
        convert_gpt2.convert(published, tmp_path / "new/gpt2")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(UserError, match=message):
        weights(variables, SIZES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hparams.json", None, r"124M': has no hparams.json; found encoder.json, model.ckpt.index"),
        ("hparams.json", "{", r"hparams.json': .*hparams.json': cannot be read \(Expecting"),
        ("hparams.json", '{"n_vocab": 3.5}', r"'n_vocab' = 3.5: expected a whole number above 0"),
        (
            "hparams.json",
            json.dumps({**vars(SIZES), "n_head": 3}),
            "hparams.json': 'n_head' = 3: must divide 'n_embd' = 8",
        ),
        ("encoder.json", "[]", r"encoder.json': expected an object of tokens and their ids, with"),
        ("encoder.json", '{"<|endoftext|>": 0}', "has 1 tokens, and hparams.json says 300; give"),
        ("vocab.bpe", "#version\nq q\n", r"encoder.json and vocab.bpe make no tokenizer"),
    ],
)
def test_broken_files_are_named(
    published: Path, variables: Variables, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    name: str, content: str | None, message: str,
) -> None:  # fmt: skip
    if content is None:
        (published / name).unlink()
    else:
        (published / name).write_text(content)
    assert convert_gpt2.main([str(published), str(tmp_path / "gpt2")]) == 2
    assert not list(tmp_path.glob("*gpt2*"))
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(capsys.readouterr().err)


def test_a_folder_that_is_there_stays(
    published: Path, variables: Variables, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"124M': is there already; name a folder that is not"):
        convert_gpt2.convert(published, published)
    with pytest.raises(UserError, match=r"nowhere': there is no such folder"):
        convert_gpt2.convert(tmp_path / "nowhere", tmp_path / "gpt2")


def test_the_real_vocabulary_is_read(data_dir: Path, tmp_path: Path) -> None:
    for ours, name in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        shutil.copyfile(data_dir / "gpt2-tiny" / ours, tmp_path / name)
    (tmp_path / "out").mkdir()
    sizes = replace(SIZES, n_vocab=50257)
    assert convert_gpt2.save_tokenizer(tmp_path, sizes, tmp_path / "out") == 50256
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("usually, he would")["input_ids"] == [23073, 11, 339, 561]


def test_a_checkpoint_of_tensorflow_is_converted(published: Path, tmp_path: Path) -> None:
    """Its files were written by TensorFlow 2.21's Saver from `made_variables`."""
    for file in CHECKPOINT.iterdir():
        shutil.copyfile(file, published / file.name)
    convert_gpt2.convert(published, tmp_path / "gpt2")
    check_folder(tmp_path / "gpt2", made_variables(), published)


def test_variables_of_a_bundle_are_read() -> None:
    found, expected = read_bundle(CHECKPOINT / "model.ckpt"), made_variables()
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value, name)


def test_broken_bundles_are_named(tmp_path: Path) -> None:
    index, data = "model.ckpt.index", "model.ckpt.data-00000-of-00001"
    whole = {name: (CHECKPOINT / name).read_bytes() for name in (index, data)}
    cuts = [
        ({index: whole[index][:-1]}, "it is no checkpoint, or is cut off"),
        ({index: whole[index][100:]}, "it is no checkpoint, or is cut off"),
        ({index: b""}, "it is no checkpoint, or is cut off"),
        ({data: whole[data][:-4]}, "it is no checkpoint, or is cut off"),
        ({data: b""}, "it is no checkpoint, or is cut off"),
        ({data: None}, "No such file or directory: .*data-00000-of-00001"),
        ({index: None}, "No such file or directory: .*index"),
    ]
    for number, (changes, message) in enumerate(cuts):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in {**whole, **changes}.items():
            if content is not None:
                (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{number}/model.ckpt.index': cannot be .*{message}"):
            read_bundle(folder / "model.ckpt")
