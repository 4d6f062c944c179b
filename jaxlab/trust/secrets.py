"""What looks like a secret is never told: the one place that knows what does.

A secret is told by its name (`HF_TOKEN`, `?signature=…`, `--password …`), by its form (`hf_…`, `AKIA…`, a URL with
`user:password@`), or because it is the value of a variable of this process whose name says so.

What stays as it is: config.json, from which a run goes on. It is then readable by its owner alone (`jaxlab.workdir`).
"""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = '***'

# Names, at the end of which one of these words stands. Without regard to case; '-' and '.' count as '_'.
_SECRET_NAME = re.compile(
    r'(?:.*[_\d])?(?:pass(?:word|wd|phrase)?|secret|credentials?|cookie|authorization|bearer'
    r'|(?:api|access|private|secret|auth|account|storage|encryption|signing|service|wandb|ssh)_?key(?:_?id)?'
    r'|(?:api|auth|access|refresh|session|security|bearer|hf|hub|git|github|gitlab|secret)_?token)(?:_?\d+)?',
    re.IGNORECASE | re.DOTALL,
)
# Of variables more: there a token is what lets one in, while in a config it is a piece of text.
_SECRET_VARIABLE = re.compile(
    r'(?:.*_)?(?:TOKENS?|SECRETS?|PASS(?:WORD|WD|PHRASE)?|CREDENTIALS?|COOKIES?|AUTH|(?:API)?KEYS?)(?:_.*)?',
    re.IGNORECASE,
)
_VALUE = r'(?P<value>[^\s"\'&;,<>]*[^\s"\'&;,<>:.)\]])'
_ASSIGNED = re.compile(r'(?P<name>[\w.-]+)(?P<between>["\']?\s*[=:]\s*["\']?(?:(?:Bearer|Basic)\s+)?)' + _VALUE, re.I)
_FLAG = re.compile(r'(?P<name>--[\w.-]+)(?P<between>\s+)(?P<value>[^\s-]\S*)')
_QUERY = re.compile(
    r'(?P<name>[?&](?:token|key|auth|code|sig|signature|x-(?:amz|goog)-(?:signature|credential)))(?P<between>=)'
    + _VALUE,
    re.IGNORECASE,
)
_URL = re.compile(r'(?<=://)(?:[^\s/@:"\'<>]*:[^\s@"\'<>]+|[^\s/@"\'<>]+)(?=@[^\s@])')  # user:password or a token alone
_FORMS = re.compile(
    r'-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)'
    r'|\b(?:hf|api_org)_[A-Za-z0-9]{20,}'  # Hugging Face
    r'|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}'
    r'|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}'  # AWS, Google
    r'|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{20,}|\bxox[abposr]-[A-Za-z0-9-]{10,}'
    r'|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*',  # JSON web tokens
    re.DOTALL,
)
_SHORTEST = 6  # characters of a variable's value that is hidden wherever it stands; a shorter one is part of words


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret: 'data.password', 'api_key', but not 'tokens' or 'end_of_text'."""
    return bool(_SECRET_NAME.fullmatch(name.replace('-', '_').replace('.', '_')))


def hidden(text: str) -> str:
    """Returns text with *** in place of what looks like a secret."""
    for secret in _own_secrets():
        text = text.replace(secret, HIDDEN)
    text = _FORMS.sub(HIDDEN, text)
    text = _URL.sub(HIDDEN, text)
    for pattern in (_ASSIGNED, _FLAG):
        text = pattern.sub(_hide_of_such_a_name, text)
    return _QUERY.sub(_hide, text)


def without_secrets(value: Any) -> Any:
    """Returns JSON values with *** in place of what looks like a secret: parts of text, and text of such a name."""
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, Mapping):
        return {
            hidden(key): HIDDEN if isinstance(inner, str) and inner and is_secret(key) else without_secrets(inner)
            for key, inner in value.items()
        }
    return [without_secrets(inner) for inner in value] if isinstance(value, list | tuple) else value


def variables(prefixes: tuple[str, ...]) -> dict[str, str]:
    """Returns the variables of this process whose names begin so, in order, without secrets."""
    return {
        name: HIDDEN if _SECRET_VARIABLE.fullmatch(name) else hidden(value)
        for name, value in sorted(os.environ.items())
        if name.startswith(prefixes)
    }


def _own_secrets() -> list[str]:
    """Returns the values of variables that are secrets, the longest first: one may begin with another."""
    found = {value for name, value in os.environ.items() if _SECRET_VARIABLE.fullmatch(name)}
    # A path says where a secret lies, and is none: GOOGLE_APPLICATION_CREDENTIALS, SSH_AUTH_SOCK.
    secrets = [value for value in found if len(value) >= _SHORTEST and not os.path.isabs(value) and not value.isdigit()]
    return sorted(secrets, key=len, reverse=True)


def _hide_of_such_a_name(found: re.Match[str]) -> str:
    of_sentence = found['name'].startswith('--') and ':' in found['between']  # '--api_key: there is no such flag'
    return found[0] if of_sentence or not is_secret(found['name']) else _hide(found)


def _hide(found: re.Match[str]) -> str:
    return f'{found["name"]}{found["between"]}{HIDDEN}'
