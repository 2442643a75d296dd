"""The tokenizer and the chat template of a pre-trained model: from its folder, the Hub, or a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from rxt.config import SpecialTokens, read_json
from rxt.data.chat_template import PLAIN, ChatTemplate, find_markers
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import TEMPLATE, TOKENIZER, TOKENIZER_CONFIG, model_folder
from rxt.interop.base_files import base_file
from rxt.interop.gguf_file import GgufFile, is_gguf
from rxt.interop.gguf_tokenizer import tokenizer_values

SPECIAL = ("bos", "eos", "pad", "unk")


@dataclass(frozen=True)
class Stored:
    """What a base has of its tokenizer."""

    source: str
    values: dict[str, Any]
    """A ``tokenizer.json``."""
    template: str | None
    special: Mapping[str, str | int]
    """``bos``, ``eos``, ``pad`` and ``unk``, those that it has: texts or ids."""


def load_base_tokenizer(
    source: str | Path, revision: str | None = None, cache_dir: str | Path | None = None
) -> ChatTokenizer:
    """The tokenizer of a pre-trained model, with the markers of its chat template (``markers``) and the special tokens
    of its interactions (``tokens``): what :meth:`rxt.ReactiveTransformer.on_base` takes.

    Padding is what the base names, or [EOS]. A base without a chat template gets a plain one: ``User: …`` and
    ``Assistant: …``. Where a template writes a system prompt although none is given, that one is left out.

    Args:
        source: a folder with a ``tokenizer.json``, a GGUF file, the name of a package that holds one, or
            ``owner/name`` on the Hugging Face Hub.
        revision: of the Hub's repository: a branch, tag or commit.
        cache_dir: where fetched files are kept.

    Raises:
        UserError: there is no tokenizer, or none of a known kind; the chat template cannot be run or taken apart.
    """
    if (file := base_file(source)) is not None:
        if not is_gguf(file):
            raise UserError(f"{file}: not a GGUF file; name one, or a folder with a {TOKENIZER}")
        stored = from_gguf(file)
    else:
        stored = from_folder(model_folder(source, weights=False, revision=revision, cache_dir=cache_dir))
    return make_tokenizer(stored)


def from_gguf(path: Path) -> Stored:
    """What the metadata of a GGUF file holds."""
    file = GgufFile(path)
    keys = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    ids = {name: file.value(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}
    special = {name: token for name, token in ids.items() if token is not None}
    return Stored(str(path), tokenizer_values(file), file.value("tokenizer.chat_template"), special)


def from_folder(folder: Path) -> Stored:
    """What the files of a folder hold."""
    if not (folder / TOKENIZER).is_file():
        raise UserError(f"{folder}: has no {TOKENIZER}, so there is no tokenizer; take a base that has one")
    values = read_json(folder / TOKENIZER)
    named = read_json(folder / TOKENIZER_CONFIG) if (folder / TOKENIZER_CONFIG).is_file() else {}
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    special: dict[str, str | int] = {}
    for name in SPECIAL:
        text, token = named.get(f"{name}_token"), config.get(f"{name}_token_id")
        text = text.get("content") if isinstance(text, dict) else text
        token = token[0] if isinstance(token, list) and token else token
        if isinstance(text, str):
            special[name] = text
        elif isinstance(token, int):
            special[name] = token
    template = named.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = {each["name"]: each["template"] for each in template}.get("default")
    if (folder / TEMPLATE).is_file():
        template = (folder / TEMPLATE).read_text(encoding="utf-8")
    return Stored(str(folder), values, template, special)


def make_tokenizer(stored: Stored) -> ChatTokenizer:
    """The tokenizer of what is stored. Raises as :func:`load_base_tokenizer`."""
    whole, plain = _tokenizer(stored.values, stored.source), _tokenizer(without_prefix(stored.values), stored.source)

    def find(name: str) -> tuple[str, int | None]:
        given = stored.special.get(name)
        text = whole.id_to_token(given) if isinstance(given, int) else given
        return text or "", None if text is None else whole.token_to_id(text)

    (bos, _), (eos, eos_id), (_, pad), _ = (find(name) for name in SPECIAL)
    if stored.template is None and eos_id is None:
        raise UserError(f"{stored.source}: names no token that ends a text (eos_token), and has no chat template")
    template = ChatTemplate(stored.source, PLAIN if stored.template is None else stored.template, bos, eos)
    plain.encode_special_tokens = True
    markers = find_markers(template, whole, plain)
    end = markers.end[-1]
    tokens = SpecialTokens(
        pad=end if pad is None else pad,
        bos=markers.begin[0] if markers.begin else None,
        eos=end,
        query=None,
        answer=None,
    )
    used = {*markers.ids(), *(token for _, token in map(find, SPECIAL))}
    return ChatTokenizer(plain, tokens, stored.source, markers=markers, unused=_special(whole) - used)


def _special(tokenizer: Tokenizer) -> frozenset[int]:
    return frozenset(token for token, text in tokenizer.get_added_tokens_decoder().items() if text.special)


def _tokenizer(values: dict[str, Any], source: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(json.dumps(values))
    except Exception as error:  # the library raises bare Exception for what it cannot read
        raise UserError(f"{source}: its tokenizer cannot be read ({str(error).splitlines()[0]})") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def without_prefix(values: dict[str, Any]) -> dict[str, Any]:
    """A ``tokenizer.json`` that puts no space before a text, and takes none off."""
    values = deepcopy(values)
    for owner in ("normalizer", "pre_tokenizer", "decoder"):
        values[owner] = _without_prefix(values.get(owner))
    return values


def _without_prefix(step: dict[str, Any] | None) -> dict[str, Any] | None:
    """A step of a tokenizer; None where it did nothing else."""
    if step is None or step["type"] in ("Prepend", "Strip"):
        return None
    for inner in ("normalizers", "pretokenizers", "decoders"):
        if inner in step:
            kept = [found for each in step[inner] if (found := _without_prefix(each)) is not None]
            step = {**step, inner: kept}
    match step["type"]:
        case "ByteLevel":
            return {**step, "add_prefix_space": False}
        case "Metaspace":
            return {**step, "prepend_scheme": "never"}
    return step
