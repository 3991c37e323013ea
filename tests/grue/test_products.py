"""Products of float32 matrices, and the numbers of rows they are made for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from grue.models import heads, products
from grue.models.heads import Float32Linear
from grue.models.products import product, rounded_up, with_rows


@pytest.mark.parametrize("by_onednn", [True, False])
def test_product_of_views_is_that_of_wider_numbers(by_onednn: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    left = torch.randn(7, 20, generator=draw)[:, 3:14]
    right = torch.randn(11, 9, generator=draw).T
    for one, other in ((left, right), (left.T, left.T)):
        found = product(one, other, by_onednn=by_onednn)
        torch.testing.assert_close(found, (one.double() @ other.double().T).float())


def test_few_numbers_of_rows_are_near_all() -> None:
    rounded = {count: rounded_up(count) for count in range(1, 4097)}
    assert all(count <= more <= max(count + 7, count * 9 / 8) for count, more in rounded.items())
    assert len(set(rounded.values())) <= 56
    assert all(rounded_up(more) == more for more in rounded.values())
    assert rounded_up(0) > 0


def test_rows_are_added_below() -> None:
    matrix = torch.ones(2, 3)
    assert with_rows(matrix, 2) is matrix
    assert with_rows(matrix, 4, 5.0).tolist() == [[1.0] * 3] * 2 + [[5.0] * 3] * 2


@pytest.mark.parametrize(
    ("vendor", "has_mkl", "is_slow"),
    [("AuthenticAMD", True, True), ("GenuineIntel", True, False), ("AuthenticAMD", False, False)],
)
def test_mkl_is_slow_on_processors_that_are_not_intels(
    vendor: str, has_mkl: bool, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_processor", lambda: f"vendor_id : {vendor}")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: has_mkl)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert products.is_mkl_slow.__wrapped__() == is_slow


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN")
def test_layer_gives_the_same_with_and_without_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, states = Float32Linear(6, 13, bias=False), torch.randn(2, 5, 6)
    asked: list[bool] = []

    def recorded(left: Tensor, right: Tensor, *, by_onednn: bool) -> Tensor:
        asked.append(by_onednn)
        return product(left, right, by_onednn=by_onednn)

    monkeypatch.setattr(heads, "product", recorded)
    monkeypatch.setattr(products, "is_mkl_slow", lambda: True)
    expected = layer(states)
    assert expected.requires_grad
    with torch.no_grad():
        layer(states)
        monkeypatch.setattr(products, "_LEAST_SIZE", 0)
        assert not asked
        torch.testing.assert_close(layer(states), expected.detach())
        assert asked == [True]
        with forward_ad.dual_level():
            found = forward_ad.unpack_dual(layer(forward_ad.make_dual(states, states)))
        torch.testing.assert_close(found.tangent, found.primal)
    assert layer(states).requires_grad
