"""Models by name: fetched, cached and uploaded through huggingface_hub itself, against a stand-in for the Hub."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub_stand_in import Hub, commit_of, serving
from huggingface_hub import constants
from tiny_bases import store_base
from tiny_tokenizers import store_tokenizer
from torch import nn

import rxt
from factories import linear_head, tiny_config, tiny_model, tiny_tokenizer
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.interop.backbone import Backbone
from rxt.pretrained import ReactiveTransformer

NAME = "someone/tiny"


def point_at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Make huggingface_hub, which reads its settings once, speak to another address."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty Hub, an empty cache, and nobody's token."""
    hub = Hub()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_stand_in")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(hub) as address:
        point_at(monkeypatch, address)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()


@pytest.fixture
def model() -> ReactiveTransformer:
    return tiny_model(tiny_config(max_length=48))


@pytest.fixture
def tokenizer() -> ChatTokenizer:
    return tiny_tokenizer()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same_weights(found: nn.Module, expected: nn.Module) -> bool:
    ours, theirs = found.state_dict(), expected.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def refused(message: str, revision: str | None = None) -> None:
    with pytest.raises(UserError, match=message) as caught:
        model_folder(NAME, revision=revision)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(NAME)


def test_uploaded_and_fetched_again(hub: Hub, model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    assert model.push_to_hub(NAME, tokenizer).endswith(f"/{NAME}")
    files = hub.repositories[NAME]["main"]
    assert set(files) == {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
    assert not hub.private[NAME]
    assert same_weights(ReactiveTransformer.from_pretrained(NAME), model)
    chat = rxt.load_chat(NAME, max_new_tokens=4)
    assert chat.ask("hello") == rxt.Conversation(model, tokenizer, max_new_tokens=4).ask("hello")
    hub.requests.clear()
    ReactiveTransformer.from_pretrained(NAME)
    assert not [request for request in hub.requests if "resolve" in request], "files in the cache are not fetched again"


def test_the_short_card_tells_the_facts(hub: Hub, model: ReactiveTransformer) -> None:
    model.push_to_hub(NAME, private=True, layout="published")
    card = hub.repositories[NAME]["main"]["README.md"].decode()
    for fact in (
        "# tiny",
        "2 layers × 6 slots × 32",
        "at most 48 tokens",
        "| vocabulary | 320 |",
        "| layout | published |",
        f'("{NAME}")',
    ):
        assert fact in card
    assert f"| parameters | {sum(each.numel() for each in model.parameters()):,} |" in card
    assert f"| encoder | {sum(each.numel() for each in model.encoder.parameters()):,} |" in card
    assert hub.private[NAME]
    assert same_weights(ReactiveTransformer.from_pretrained(NAME), model)


def test_a_card_that_is_there_is_kept(
    hub: Hub, model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "README.md").write_text("beside the model")
    model.push_to_hub(NAME, tmp_path)
    assert hub.repositories[NAME]["main"]["README.md"] == b"beside the model"
    model.push_to_hub(NAME, tokenizer)
    assert hub.repositories[NAME]["main"]["README.md"] == b"beside the model"
    (tmp_path / "other.md").write_text("another")
    model.push_to_hub(NAME, tmp_path, card=tmp_path / "other.md")
    assert hub.repositories[NAME]["main"]["README.md"] == b"another"


def test_a_card_that_the_hub_cannot_read_is_named(hub: Hub, model: ReactiveTransformer, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(
        UserError, match=r"card.md: the Hugging Face Hub does not take this card \(.*a list that does not end\)"
    ):
        model.push_to_hub(NAME, card=tmp_path / "card.md")
    assert not hub.repositories[NAME]["main"]


def test_an_upload_takes_the_place_of_weights_in_several_files(hub: Hub, model: ReactiveTransformer) -> None:
    old = {"model-00001-of-00002.safetensors": b"", "model.safetensors.index.json": b"{}", "notes.txt": b"mine"}
    hub.repositories[NAME] = {"main": old}
    model.push_to_hub(NAME)
    assert set(hub.repositories[NAME]["main"]) == {"config.json", "model.safetensors", "README.md", "notes.txt"}


def test_a_revision_is_a_branch_of_its_own(hub: Hub, model: ReactiveTransformer, tmp_path: Path) -> None:
    model.push_to_hub(NAME)
    main = dict(hub.repositories[NAME]["main"])
    torch.nn.init.zeros_(linear_head(model.decoder).bias)
    for _ in range(2):
        model.push_to_hub(NAME, revision="second")
    assert hub.repositories[NAME]["main"] == main
    assert same_weights(ReactiveTransformer.from_pretrained(NAME, revision="second", cache_dir=tmp_path / "own"), model)
    assert (tmp_path / "own" / "models--someone--tiny").is_dir()
    assert not same_weights(ReactiveTransformer.from_pretrained(NAME), model)
    commit = commit_of(hub.repositories[NAME]["second"])
    assert same_weights(ReactiveTransformer.from_pretrained(NAME, revision=commit), model)


def test_a_part_by_name(hub: Hub, reference: Path) -> None:
    hub.repositories[NAME] = {"main": {}, "v1": contents(reference / "encoder")}
    found = rxt.load_component(NAME, revision="v1")
    assert same_weights(found, rxt.load_component(reference / "encoder"))


def test_weights_in_several_files_are_fetched(hub: Hub) -> None:
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": b"{}",
        "a.safetensors": b"",
        "b.safetensors": b"",
        "x/c.safetensors": b"",
    }
    hub.repositories[NAME] = {"main": {**files, "pytorch_model.bin": b"", "notes.txt": b""}}
    assert {path.name for path in model_folder(NAME).iterdir()} == {name for name in files if "/" not in name}


def test_no_such_model(hub: Hub) -> None:
    refused(
        "no such folder here or in the cache, and the Hugging Face Hub has no such model, or it is private: then log in"
    )


def test_no_such_revision(hub: Hub) -> None:
    hub.repositories[NAME] = {"main": {"config.json": b"{}"}}
    refused("has this model, but no revision 'v9' of it", "v9")


def test_a_gated_model(hub: Hub) -> None:
    hub.repositories[NAME] = {"main": {"config.json": b"{}"}}
    hub.gated.add(NAME)
    refused(rf"accept its conditions at https://huggingface.co/{NAME} and log in with `hf auth login` or set HF_TOKEN")


def test_a_broken_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories[NAME] = {"main": {"config.json": b"{}"}}
    hub.broken = True
    refused(r"answered with an error \(status 500\)")


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        point_at(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
        refused("no such folder here or in the cache, and the Hugging Face Hub cannot be reached")


def test_offline(hub: Hub, model: ReactiveTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        huggingface_hub.close_session()
        refused(
            "no such folder here or in the cache, and HF_HUB_OFFLINE forbids to ask the Hugging Face Hub; "
            "go online once"
        )
    huggingface_hub.close_session()
    model.push_to_hub(NAME)
    ReactiveTransformer.from_pretrained(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    hub.requests.clear()
    assert same_weights(ReactiveTransformer.from_pretrained(NAME), model)
    assert not hub.requests


def test_not_allowed_to_write(hub: Hub, model: ReactiveTransformer) -> None:
    hub.read_only = True
    with pytest.raises(UserError, match=r"does not allow this \(status 403\): log in"):
        model.push_to_hub(NAME)


def test_a_bad_name_is_refused_before_anything_else(hub: Hub, model: ReactiveTransformer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tiny: not a name on the Hugging Face Hub; write owner/name"):
        model.push_to_hub("tiny")
    with pytest.raises(UserError, match=r"README.md: cannot be read"):
        model.push_to_hub(NAME, card=tmp_path / "README.md")
    assert not hub.requests
    with pytest.raises(UserError, match="no valid name"):
        model_folder("some..one/tiny")


def test_an_empty_repository(hub: Hub) -> None:
    hub.repositories[NAME] = {"main": {"notes.txt": b""}}
    refused("this repository holds no model")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt"])
def test_pickles_are_refused(hub: Hub, tmp_path: Path, pickle: str) -> None:
    hub.repositories[NAME] = {"main": {"config.json": b"{}", pickle: b""}}
    refused(
        rf"its weights are a pickle \({pickle}\), and loading a pickle can run any code.*safetensors.torch.save_file"
    )
    assert not [request for request in hub.requests if pickle in request]
    (tmp_path / pickle).write_bytes(b"")
    with pytest.raises(UserError, match=rf"its weights are a pickle \({pickle}\)"):
        ReactiveTransformer.from_pretrained(tmp_path)
    with pytest.raises(UserError, match=rf"its weights are a pickle \({pickle}\)"):
        rxt.load_component(tmp_path)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder has no revision 'v1'"):
        model_folder(tmp_path, revision="v1")


def test_a_base_comes_from_the_hub_or_its_cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = store_tokenizer(tmp_path / "base", "chatml")
    store_base(tmp_path / "base", "llama", vocab_size=len(theirs))
    hub.repositories["someone/base"] = {"main": contents(tmp_path / "base")}
    backbone, base_tokenizer = Backbone.from_pretrained("someone/base"), rxt.load_base_tokenizer("someone/base")
    model = ReactiveTransformer.on_base(backbone, (1,), 5, tokens=base_tokenizer.tokens, markers=base_tokenizer.markers)
    assert model.config.base is not None
    assert model.config.base.revision == commit_of(hub.repositories["someone/base"]["main"])
    model.save_pretrained(tmp_path / "memory")
    hub.repositories["someone/base"]["main"] = {"config.json": b"{}"}  # a later commit
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    chat = rxt.load_chat(tmp_path / "memory")
    assert same_weights(chat.model, model)
    assert chat.tokenizer.markers == base_tokenizer.markers
