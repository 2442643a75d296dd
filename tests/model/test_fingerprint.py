"""The fingerprint names the weights: any change changes it, nothing else does."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tiny_reactive import REACTIVE, make, tokens

from factories import linear_head
from rxt.pretrained import ReactiveTransformer

every_model = pytest.mark.parametrize("name", REACTIVE)


@every_model
@torch.no_grad()
def test_changes_with_any_weight(name: str) -> None:
    """One element of any tensor is enough, and the old weights have the old fingerprint again."""
    model = make(REACTIVE[name], double=False)
    start, seen = model.fingerprint(), set[str]()
    assert len(start) == 16
    assert int(start, 16) >= 0
    weights = [*model.parameters(), *model.buffers()]
    for weight in weights:
        element = weight.view(-1)[-1:]
        old = element.clone()
        element.add_(1)
        seen.add(model.fingerprint())
        element.copy_(old)
        assert model.fingerprint() == start
    assert len(seen - {start}) == len(weights)


@every_model
def test_stable_across_copies_and_files(tmp_path: Path, name: str) -> None:
    model = make(REACTIVE[name], double=False)
    model.save_pretrained(tmp_path)
    assert ReactiveTransformer.from_pretrained(tmp_path).fingerprint() == model.fingerprint()
    assert copy.deepcopy(model).fingerprint() == model.fingerprint()


def test_use_does_not_change_it() -> None:
    model = make(REACTIVE["mixed norms"])
    before, ids = model.fingerprint(), tokens(2, 4)
    with torch.no_grad():
        memory = model.memorize(model.init_memory(2), ids)
        model.decode(ids, memory)
    assert model.fingerprint() == before
    assert memory.fingerprint == before


def test_computed_once_as_long_as_no_weight_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    before = model.fingerprint()
    monkeypatch.setattr("hashlib.sha256", None)
    assert model.fingerprint() == before
    model.eval()
    assert model.fingerprint() == before
    with torch.no_grad():
        linear_head(model.decoder).bias.add_(1)
    with pytest.raises(TypeError):
        model.fingerprint()


@pytest.mark.parametrize("kind", ["foreach", "fused", "one by one"])
def test_changes_with_a_training_step(kind: str) -> None:
    """Fused optimizers leave weights' version counters as they were."""
    model = make(double=False)
    before, ids = model.fingerprint(), tokens(2, 4)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, foreach=kind == "foreach", fused=kind == "fused")
    model.decode(ids, model.init_memory(2)).square().sum().backward()
    while_training = model.fingerprint()
    optimizer.step()
    assert while_training == before
    assert model.fingerprint() != before
    assert model.eval().fingerprint() != before


def test_changes_with_precision_and_with_loaded_weights() -> None:
    model = make(double=False)
    found = [model.fingerprint()]
    found.append(model.bfloat16().fingerprint())
    found.append(model.float().fingerprint())
    assert len(set(found)) == 3, "rounded weights are other weights"
    other = make(double=False)
    model.load_state_dict(other.state_dict())
    assert model.fingerprint() == other.fingerprint()
    model.load_state_dict({name: 2 * tensor for name, tensor in other.state_dict().items()}, assign=True)
    assert model.fingerprint() != other.fingerprint()


def test_of_weights_made_in_inference_mode() -> None:
    """Such tensors have no version counter at all."""
    with torch.inference_mode():
        model = make()
        memory = model.memorize(model.init_memory(1), tokens(1, 3))
    assert memory.fingerprint == model.fingerprint()
