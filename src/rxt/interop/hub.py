"""Upload a model to the Hugging Face Hub: weights, configuration, tokenizer and a card, as one commit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from rxt.errors import UserError
from rxt.files import read_bytes, write_atomically
from rxt.folders import HUB_ID, TOKENIZER, hub_errors
from rxt.interop.layouts import Layout, save_pretrained
from rxt.model.parameters import parameter_counts
from rxt.model.reactive import ReactiveTransformer
from rxt.model.weights import INDEX, WEIGHTS

CARD = "README.md"
STALE = [WEIGHTS, INDEX, "model-*-of-*.safetensors"]
"""Weights that an earlier commit may have left, in one file or several: those that are uploaded take their place."""


class Saves(Protocol):
    """What a ``ChatTokenizer`` can do: write its ``tokenizer.json`` into a folder."""

    def save(self, path: str | Path, /) -> Path: ...


def push(
    model: ReactiveTransformer,
    hub_id: str,
    tokenizer: Saves | str | Path | None,
    card: str | Path | None,
    revision: str | None,
    private: bool,
    layout: Layout,
) -> str:
    """Upload a model as one commit, and return its address; ``rxt.ReactiveTransformer.push_to_hub`` says what is
    what."""
    from huggingface_hub import HfApi

    if not HUB_ID.fullmatch(hub_id):
        raise UserError(f"{hub_id}: not a name on the Hugging Face Hub; write owner/name")
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_pretrained(model, folder, layout)
        card = _add_tokenizer(folder, tokenizer) if card is None else Path(card).expanduser()
        if card is not None:
            write_atomically(folder / CARD, read_bytes(card))
        api = HfApi()
        try:
            with hub_errors(hub_id, revision):
                address = api.create_repo(hub_id, private=private, exist_ok=True)
                if revision is not None:
                    api.create_branch(hub_id, branch=revision, exist_ok=True)
                if card is None and not api.file_exists(hub_id, CARD, revision=revision):
                    write_atomically(
                        folder / CARD, short_card(model, hub_id, layout, (folder / TOKENIZER).is_file()).encode()
                    )
                message = "Upload a Reactive Transformer"
                api.upload_folder(
                    repo_id=hub_id, folder_path=folder, revision=revision, commit_message=message, delete_patterns=STALE
                )
        except ValueError as error:  # the Hub reads the lines between --- at the top of a card
            raise UserError(
                f"{card or CARD}: the Hugging Face Hub does not take this card ({' '.join(str(error).split())})"
            ) from None
    return str(address)


def _add_tokenizer(folder: Path, tokenizer: Saves | str | Path | None) -> Path | None:
    """Put the ``tokenizer.json`` into the folder; the card that lies beside it, where there is one."""
    if tokenizer is None:
        return None
    if not isinstance(tokenizer, str | Path):
        tokenizer.save(folder)
        return None
    path = Path(tokenizer).expanduser()
    path = path / TOKENIZER if path.is_dir() else path
    write_atomically(folder / TOKENIZER, read_bytes(path))
    card = path.with_name(CARD)
    return card if card.is_file() else None


def short_card(model: ReactiveTransformer, hub_id: str, layout: str, has_tokenizer: bool) -> str:
    """A model card with the facts that a configuration holds."""
    config, counts = model.config, parameter_counts(model.config)
    layers, slots, width = config.memory_shape
    active = (
        "" if counts.decoder_active == counts.decoder else f", {counts.decoder_active:,} of them active for a token"
    )
    use = (
        f'chat = rxt.load_chat("{hub_id}")\nchat.ask("Hello!")'
        if has_tokenizer
        else f'model = rxt.ReactiveTransformer.from_pretrained("{hub_id}")'
    )
    return f"""---
library_name: reactive-transformers
tags:
- reactive-transformer
- rxt
---

# {hub_id.partition("/")[2]}

A Reactive Transformer: a conversation model that reads only the newest message and keeps the earlier ones in a memory
of fixed size.

| | |
|---|---|
| parameters | {counts.total:,} |
| decoder | {counts.decoder:,}{active} |
| encoder | {counts.encoder:,} |
| memory attention | {counts.memory_attention:,}, {config.memory_attention.variant} |
| memory | {layers} layers × {slots:,} slots × {width} |
| a turn | at most {config.max_length:,} tokens, {config.template} template |
| vocabulary | {config.decoder.vocab_size:,} |
| layout | {layout} |

```python
import rxt

{use}
```
"""
