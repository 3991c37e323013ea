"""Single texts are measured like single images: exactly, whatever their lengths."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from common.run.folder import RunFolder
from sft_vs_rft import objectives
from sft_vs_rft.data.run_data import make_data
from sft_vs_rft.models.build import build_model
from sft_vs_rft.theory import bound as theory
from tests.conftest import Workplace
from tests.sft_vs_rft.conftest import stsb


def test_norms_of_texts_are_those_of_explicit_jacobians(bert: str, pairs: Path) -> None:
    config = stsb(bert, pairs)
    data = make_data(config, torch.device("cpu"))
    torch.manual_seed(0)
    model = build_model(config, (), 6).double()
    texts = data.train_inputs.single_examples(torch.tensor([3, 40, 7]))
    assert len({text["input_ids"].shape for text in texts}) == 3
    rewards = torch.rand(3, 6, dtype=torch.float64) * 2 - 1
    with theory.as_network(model, 0.5) as (network, params):
        measured = theory.measure(network, params, texts, rewards)
    weights = list(model.parameters())
    for row, text in enumerate(texts):
        logits = model(text) / 0.5
        jacobian = torch.stack([flat(torch.autograd.grad(z, weights, retain_graph=True))
                                for z in logits[0]])  # fmt: skip
        value = objectives.expected_reward(logits, rewards[row : row + 1])
        gradient = flat(torch.autograd.grad(value.sum(), weights))
        assert measured.grad_norm[row].item() == pytest.approx(gradient.norm().item(), rel=1e-6)
        gamma = torch.linalg.matrix_norm(jacobian, ord=2).item()
        assert measured.jacobian_norm[row].item() == pytest.approx(gamma, rel=1e-6)


def flat(tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def test_a_plan_measures_texts(bert: str, pairs: Path, workplace: Workplace) -> None:
    keys = stsb(bert, pairs).model_dump(mode="json")
    keys |= {"epochs": 2, "theory_every": 1, "theory_inputs": 4, "opt_method": "expected_reinforce",
             "frac_samples_to_modify_labels": 0.1}  # fmt: skip
    plan = workplace.write_plan(configurations=[{"base_config": keys}])
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    table = pd.read_parquet(RunFolder(folder.path).table("theory"))
    assert table.groupby("epochs_trained").size().tolist() == [4, 4, 4]
    assert (table.grad_norm <= table.bound).all()
