"""Where a model's files are: a folder, the bundled model, or a repository of the Hugging Face Hub. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from rxt.errors import UserError

BUNDLED = Path(__file__).parent / "bundled"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
FILES = ("config.json", "tokenizer.json")
WEIGHTS = "*.safetensors"


def model_folder(source: str | Path | None, weights: bool = True) -> Path:
    """The folder of a model: ``None`` is the bundled one, ``owner/name`` is fetched from the Hub if it is no folder here.

    Without ``weights`` only the small files are fetched.
    Raises ``UserError`` where there is no such folder, and where the Hub has no such model or cannot be reached.
    """
    folder = BUNDLED if source is None else Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source is None:
        raise UserError("this installation has no bundled model; name a model folder")
    if not HUB_ID.fullmatch(str(source)):
        raise UserError(f"{source}: no such folder; name a folder with a config.json, or a model of the Hugging Face Hub as owner/name")
    return _fetch(str(source), [*FILES, WEIGHTS] if weights else [*FILES])


def _fetch(hub_id: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=files))
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no answer")
        raise UserError(f"{hub_id}: no such folder, and the Hugging Face Hub has no such model (status {status})") from None
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        raise UserError(f"{hub_id}: no such folder, and the Hugging Face Hub cannot be reached") from None
