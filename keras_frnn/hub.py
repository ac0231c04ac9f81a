"""Presets on the Hugging Face Hub, named hf://user/name. They need huggingface_hub, the extra `hub`.

The command line imports this file before it loads Keras.
"""

import pathlib
import re
from types import ModuleType

PREFIX = "hf://"
# The files of a preset, with the names that KerasHub gives them.
CONFIG, METADATA, WEIGHTS, CARD = "config.json", "metadata.json", "model.weights.h5", "README.md"
LARGEST_TEXT = 2**24  # Bytes of JSON.
_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def is_on_hub(preset) -> bool:
    """Whether a preset is named as one on the Hub."""
    return isinstance(preset, str) and preset.startswith(PREFIX)


def download(preset: str, *names: str, largest: int = LARGEST_TEXT, beside: pathlib.Path | None = None) -> pathlib.Path:
    """Downloads files of a preset into the cache of huggingface_hub. Files in the cache that are current are kept.

    Args:
        preset: hf://user/name, or hf://user/name@revision for a branch, a tag or a commit.
        names: names of the files.
        largest: the most bytes that each of them may have; a larger one is not downloaded.
        beside: the folder of files that were downloaded before, to get the files of the same commit.

    Returns:
        The folder of the files. Without a connection, that of the newest files in the cache.

    Raises:
        ValueError: the name is malformed, the repository or a file in it does not exist, or a file is too large.
        OSError: the Hub cannot be reached, or answers with an error.
        ImportError: huggingface_hub is not installed.
    """
    repository, revision = _parts(preset)
    hub = _huggingface_hub()
    if beside is not None:
        revision = beside.name
    for name in names:
        try:
            size = hub.hf_hub_download(repository, name, revision=revision, dry_run=True).file_size
            fits = size is not None and size <= largest
            path = pathlib.Path(hub.hf_hub_download(repository, name, revision=revision)) if fits else None
        except Exception as error:
            raise _explained(error, hub, preset, name) from error
        if path is None:
            found = "an unknown number of" if size is None else f"{size:,}"
            raise ValueError(f"{preset} is not downloaded: {name} has {found} bytes. Expected at most {largest:,}.")
        beside, revision = path.parent, path.parent.name
    assert beside is not None
    return beside


def upload(preset: str, folder: pathlib.Path, card: str):
    """Uploads the files of a preset in one commit, to a repository that is created if it does not exist.

    Args:
        preset: hf://user/name.
        folder: the folder with the files.
        card: the contents of the README.md if there is none in the folder or in the repository.

    Raises:
        ValueError: the name is malformed.
        OSError: the Hub cannot be reached, or refuses the upload.
        ImportError: huggingface_hub is not installed.
    """
    repository, revision = _parts(preset)
    if revision is not None:
        raise ValueError(f"An upload makes a new commit of the branch main. Received: {preset!r}. Omit @{revision}.")
    hub = _huggingface_hub()
    files: dict[str, str | bytes] = {
        name: str(folder / name) for name in (CONFIG, METADATA, WEIGHTS, CARD) if (folder / name).is_file()
    }
    try:
        api = hub.HfApi()
        api.create_repo(repository, exist_ok=True)
        if CARD not in files and not api.file_exists(repository, CARD):
            files[CARD] = card.encode()
        additions = [hub.CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(repository, additions, commit_message="A network of keras-frnn")
    except Exception as error:
        raise OSError(
            f"{preset} cannot be uploaded: {_one_line(error)} Log in with `hf auth login` and a token that may write."
        ) from error


def _parts(preset: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(preset)
    if not match:
        raise ValueError(
            f"Expected a preset on the Hub, hf://user/name or hf://user/name@revision. Received: {preset!r}"
        )
    return match[1], match[2]


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            f"Presets on the Hugging Face Hub need huggingface_hub, which does not work here ({error}): "
            "`pip install keras-frnn[hub]`."
        ) from error
    return huggingface_hub


def _explained(error: Exception, hub: ModuleType, preset: str, name: str) -> Exception:
    """An error of a download with a sentence for the user."""
    if isinstance(error, hub.errors.LocalEntryNotFoundError):
        return OSError(f"{preset} cannot be downloaded: the Hub cannot be reached, and {name} is not in the cache.")
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return ValueError(
            f"{preset} does not exist, or you have no access to it. If it is private or gated, log in with "
            "`hf auth login`."
        )
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return ValueError(f"{preset} has no such revision. Omit the part after @ for the newest one.")
    if isinstance(error, hub.errors.EntryNotFoundError):
        return ValueError(f"{preset} holds no network that `save_to_preset` wrote: it has no {name}.")
    if isinstance(error, hub.errors.HFValidationError):
        return ValueError(f"{preset} cannot be the name of a repository: {_one_line(error)}")
    return OSError(f"{preset} cannot be downloaded: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".") + "."
