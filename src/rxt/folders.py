"""Where a model's files are: a folder, the bundled model, or a repository of the Hugging Face Hub. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rxt.errors import UserError

BUNDLED = Path(__file__).parent / "bundled"
BUNDLED_NAME = "bundled"
"""Names the bundled model where a name is needed; a folder of this name comes first."""
BUNDLED_BABI = BUNDLED / "babi"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG, TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
"""Of a pre-trained model: names its special tokens, and its chat template."""
MODEL = "model"
"""The folder of a run's model, in the run's."""
FILES = ("config.json", TOKENIZER, TOKENIZER_CONFIG, TEMPLATE)
WEIGHTS = ("*.safetensors", "model.safetensors.index.json")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def model_folder(
    source: str | Path | None, weights: bool = True, revision: str | None = None, cache_dir: str | Path | None = None
) -> Path:
    """The folder of a model: ``None`` and ``bundled`` are the bundled one, and a name that of another one in this
    package; ``owner/name`` is fetched from the Hub if it is no folder here.

    Args:
        weights: without them only the small files are fetched.
        revision: of the Hub's repository: a branch, tag or commit; its main branch by default.
        cache_dir: where fetched files are kept; the Hub's own cache by default.

    Raises:
        UserError: there is no such folder, or it is that of a run, with its model inside; the Hub has no such model or
            revision, does not give it to you, or cannot be reached; the weights are pickles only.
    """
    folder = BUNDLED if source is None else Path(source).expanduser()
    if str(source) == BUNDLED_NAME and not folder.exists() and BUNDLED.is_dir():
        folder = BUNDLED
    if not folder.is_dir() and str(source) in bundled_names():
        folder = BUNDLED / str(source)
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"{source or 'the bundled model'}: a folder has no revision {revision!r}; leave it out")
        inside = folder / MODEL
        if not (folder / FILES[0]).exists() and (inside / FILES[0]).is_file():
            raise UserError(f"{source}: a run's folder, not a model's; did you mean {inside}?")
        if weights:
            _refuse_pickles(str(folder), (path.name for path in folder.iterdir()))
        return folder
    if source is None:
        raise UserError("this installation has no bundled model; name a model folder")
    if folder.is_file():
        _refuse_pickles(str(source), [folder.name])
        raise UserError(f"{source}: a file; name the model's folder, which has a config.json")
    if not HUB_ID.fullmatch(str(source)):
        raise UserError(
            f"{source}: no such folder; name a folder with a config.json, a bundled model "
            f"({', '.join(bundled_names())}), or a model of the Hugging Face Hub as owner/name"
        )
    return _fetch(str(source), weights, revision, cache_dir)


def bundled_names() -> list[str]:
    """Of the models in this package, beside the one that has no name."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{FILES[0]}"))


def _fetch(hub_id: str, weights: bool, revision: str | None, cache_dir: str | Path | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    wanted = [*FILES, *WEIGHTS] if weights else [*FILES]
    with hub_errors(hub_id, revision, "no such folder here or in the cache, and "):
        folder = Path(
            snapshot_download(
                hub_id, revision=revision, cache_dir=cache_dir, allow_patterns=wanted, ignore_patterns=["*/*"]
            )
        )
    if weights and not any(folder.glob("*.safetensors")):
        names: list[str] = []
        with suppress(UserError), hub_errors(hub_id, revision):
            names = HfApi().list_repo_files(hub_id, revision=revision)
        _refuse_pickles(hub_id, names)
    if not folder.is_dir():
        raise UserError(f"{hub_id}: this repository holds no model: no {FILES[0]}, no {WEIGHTS[0]}")
    return folder


def _refuse_pickles(where: str, names: Iterable[str]) -> None:
    """Say why nothing is loaded where weights are there, but none of them as safetensors."""
    names = sorted(names)
    pickles = [name for name in names if name.endswith(PICKLES)]
    if pickles and not any(name.endswith(".safetensors") for name in names):
        raise UserError(
            f"{where}: its weights are a pickle ({pickles[0]}), and loading a pickle can run any code, so only "
            "safetensors are read; if you trust it, convert it: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
        )


@contextmanager
def hub_errors(hub_id: str, revision: str | None = None, sought: str = "") -> Iterator[None]:
    """Say in one line what is wrong when the Hugging Face Hub refuses or cannot be reached: a ``UserError``.

    ``sought``: what has been looked for in vain before the Hub was asked.
    """
    try:
        yield
    except _problems() as error:
        raise UserError(f"{hub_id}: {_reason(error, hub_id, revision, sought)}") from None


def _problems() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # The first base of HfHubHTTPError is the HTTP library's own error, which a broken connection is too.
    return (HFValidationError, HfHubHTTPError.__bases__[0], OSError)


def _reason(error: Exception, hub_id: str, revision: str | None, sought: str) -> str:
    from huggingface_hub import errors

    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
    match cause:
        case errors.OfflineModeIsEnabled():
            return f"{sought}HF_HUB_OFFLINE forbids to ask the Hugging Face Hub; go online once, with HF_HUB_OFFLINE=0"
        case errors.GatedRepoError():
            return f"this model is gated: accept its conditions at https://huggingface.co/{hub_id} and {LOG_IN}"
        case errors.RepositoryNotFoundError():
            return f"{sought}the Hugging Face Hub has no such model, or it is private: then {LOG_IN}"
        case errors.RevisionNotFoundError():
            return (
                f"the Hugging Face Hub has this model, but no revision {revision!r} of it; "
                "name a branch, a tag or a commit"
            )
        case errors.HFValidationError():
            return f"{sought}this is no valid name on the Hugging Face Hub; write owner/name"
        case errors.LocalTokenNotFoundError():
            return LOG_IN
        case errors.HfHubHTTPError():
            status = getattr(cause.response, "status_code", 0)
            if status in (401, 403):
                return (
                    f"the Hugging Face Hub does not allow this (status {status}): {LOG_IN}, with a token that may do it"
                )
            return f"the Hugging Face Hub answered with an error (status {status}); try again later"
        case OSError(filename=str(path)) if not isinstance(cause, errors.LocalEntryNotFoundError):
            return f"{path}: cannot be read or written ({cause.strerror or cause})"
    return f"{sought}the Hugging Face Hub cannot be reached ({type(cause).__name__})"
