"""Files of the Hugging Face hub: 'hf:owner/name', or 'hf:owner/name@version'. Nothing of them is run."""

import os
import re
from pathlib import Path

from jaxlab.errors import UserError

PREFIX = 'hf:'
ENDPOINT = 'https://huggingface.co'


def is_of_hub(source: str) -> bool:
    """Whether a source is one of the hub."""
    return source.startswith(PREFIX)


def fetch(source: str, file: str) -> Path | None:
    """Returns where a file of a repository now lies; None where the repository has none of this name. HF_ENDPOINT says
    where the hub is.

    Raises:
      UserError: it is no name of a repository, or the hub is out of reach.
    """
    if not re.fullmatch(rf'{PREFIX}[\w.-]+(/[\w.-]+)?(@[\w./-]+)?', source):
        raise UserError('"{source}": hf:owner/name is wanted, such as hf:microsoft/resnet-50.', source=source)
    from huggingface_hub import errors, hf_hub_download

    repository, _, revision = source.removeprefix(PREFIX).partition('@')
    endpoint = os.environ.get('HF_ENDPOINT', '') or ENDPOINT
    try:
        return Path(hf_hub_download(repository, file, revision=revision or None, endpoint=endpoint))
    except Exception as error:  # of the hub, of either library for HTTP, of the disk: a dozen kinds
        absent = isinstance(error, errors.EntryNotFoundError)
        if absent and not isinstance(error, errors.LocalEntryNotFoundError):  # that one says: out of reach
            return None
        raise UserError(
            '{file} of "{source}" cannot be fetched from {endpoint} ({error}).\nSet HF_ENDPOINT to a mirror, or put'
            ' what the repository holds into a folder by hand (model.safetensors, config.json, …), and give the'
            ' folder.',
            file=file,
            source=source,
            endpoint=endpoint,
            error=reason(error.__cause__ or error),
        ) from None


def reason(error: BaseException) -> str:
    """Returns the first line of what an error says."""
    return str(error).strip().partition('\n')[0].rstrip('.') or type(error).__name__
