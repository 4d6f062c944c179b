"""Download and prepare the data set of a config, once.

python -m jaxlab.main prepare --config=configs/mlp.py:mnist
python -m jaxlab.main prepare --config=configs/cnn.py:fashion --config.data.source.dir=my_sets
"""

import argparse
import importlib.util
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jaxlab.errors import UserError, nearest
from jaxlab.messages import say

FEW = 8  # files that a message lists
OUT_OF_REACH = {'RequestException', 'DownloadError', 'URLError', 'ConnectionError', 'TimeoutError'}  # of any library
PATIENCE = 15  # seconds until a host is taken for one that does not answer


def arguments(parser: argparse.ArgumentParser) -> None:
    config = say('the experiment whose data are wanted: a file, with a size after a colon')
    parser.add_argument('--config', default='', help=config)


def run(parsed: argparse.Namespace) -> int:
    from ml_collections import ConfigDict

    from jaxlab import config_text

    if not parsed.config:
        raise UserError('say whose data to prepare: --config=configs/….py')
    written, chosen, _ = config_text.load_all(parsed.config)
    wanted = []
    for name in chosen:
        source = config_text.override(written[name], parsed.overrides).get('data', {}).get('source', {})
        if not isinstance(source, ConfigDict) or source.get('name') not in ('tfds', 'tfds_text'):
            raise UserError(
                '--config={config}: there is nothing to prepare: config.data.source is not tfds.', config=parsed.config
            )
        asked = (source.set, source.dir, source.version)
        wanted += [asked] * (asked not in wanted)
    for set, dir, version in wanted:
        prepare(set, dir, version)
    return 0


def prepare(set: str, dir: str = '', version: str = '') -> None:
    """Downloads a set by its official builder, and writes it as files that are read by number, where `tfds` looks.

    Args: as of the sources `jaxlab.data.sources.tfds` and `tfds_text`.

    Raises:
      UserError: there is no such set, TensorFlow is not installed, or a host is out of reach: then it says which files
        can be fetched by hand, and where they go.
    """
    from jaxlab.data.prepared import FORMAT, check_files, home, library, prepared

    if folder := prepared(set, dir, version):
        check_files(folder)
        print(say('{set} is prepared already: "{folder}"', set=set, folder=folder))
        return
    tfds = library()
    if not has_tensorflow():
        raise UserError(
            'to prepare {set} takes TensorFlow, for this one time: bash launch/setup.sh --extras=prepare\n'
            "(or: pip install -e '.[prepare]')",
            set=set,
        )
    root = home(dir)
    builder = builder_of(tfds, set, version, root)
    downloads = downloads_of(root, set)
    manual = downloads / 'manual'
    settings = tfds.download.DownloadConfig(
        extract_dir=downloads / 'extracted', manual_dir=manual, try_download_gcs=False
    )
    size = builder.info.download_size / 1e6
    print(say('downloading {set}, {size:,.0f} MB, to "{folder}"', set=set, size=size, folder=downloads), flush=True)
    try:
        manual.mkdir(parents=True, exist_ok=True)
        knock(builder.url_infos, downloads)
        builder.download_and_prepare(download_dir=downloads, download_config=settings, file_format=FORMAT)
    except Exception as error:
        raise told(error, set, builder, manual) from error
    print(say('{set} is prepared: "{folder}"', set=set, folder=builder.data_dir))


def downloads_of(root: Path, set: str) -> Path:
    """Returns the folder of what is downloaded, one for each set.

    In a common one, files of the same name that were placed by hand, or were unpacked from there, would be taken for
    one another, without a word: MNIST and Fashion-MNIST have such.
    """
    return root / 'downloads' / set.replace('/', '-')


def has_tensorflow() -> bool:
    return importlib.util.find_spec('tensorflow') is not None  # tfds imports it, when it encodes what it downloaded


def builder_of(tfds: Any, set: str, version: str, root: Path) -> Any:
    try:
        return tfds.builder(f'{set}:{version}' if version else set, data_dir=root, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:  # its message lists all there are, which tfds.list_builders may not
        raise UserError(
            'set="{set}": TensorFlow Datasets has no builder of this name.{nearest}\n'
            'The catalogue: https://www.tensorflow.org/datasets/catalog/overview',
            set=set,
            nearest=nearest(set, re.findall(r'- (\w+)', str(error))),
        ) from None
    except (AssertionError, ValueError) as error:  # no such version or configuration
        raise UserError('set="{set}": {error}', set=set, error=' '.join(str(error).split())) from None


def knock(known: Mapping[str, Any], downloads: Path) -> None:
    """Raises the error of a first request where no host of a set answers: TFDS itself asks for minutes or hours."""
    there = {file.name for file in downloads.rglob('*') if file.is_file()}
    first = {urlsplit(url).hostname: url for url in known if url.startswith('http')}
    if not first or there:  # what was downloaded, or put there by hand, may be enough
        return
    for url in first.values():
        try:
            urllib.request.urlopen(url, timeout=PATIENCE).close()
            return
        except urllib.error.HTTPError:  # it does answer
            return
        except OSError as error:
            if isinstance(getattr(error, 'reason', None), ssl.SSLError):
                return  # TFDS has certificates of its own
            failed = error
            failed.add_note(url)
    raise failed


def told(error: Exception, set: str, builder: Any, manual: Path) -> Exception:
    """Returns the UserError that says what can be done, or the error itself where it is not of the user's world."""
    every = list(chain(error))
    kinds = {kind.__name__ for each in every for kind in type(each).__mro__}
    folder = Path(builder.data_dir)
    if 'NonMatchingChecksumError' in kinds:
        return UserError(
            '{set}: a download is damaged, or is not the file it should be ({url}).\n'
            'Take it away from "{folder}", and give the same command again.',
            set=set,
            url=url_of(every),
            folder=manual.parent,
        )
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and isinstance(error, AssertionError | FileNotFoundError):
        return UserError(
            '{set} wants files that are fetched by hand and put into "{folder}":\n{instructions}',
            set=set,
            folder=manual,
            instructions=' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split()),
        )
    if kinds & OUT_OF_REACH:
        url = url_of(every)
        return UserError(
            '{set}: {host} cannot be reached ({error}). A proxy that can: HTTPS_PROXY=http://…, HTTP_PROXY=http://… Or'
            ' prepare it on a machine that can, and copy its folder to "{folder}".\n'
            'Or fetch by hand, and put into "{manual}": {files}',
            set=set,
            host=urlsplit(url).hostname or url,
            error=reason(every),
            manual=manual,
            files=by_hand(url, builder.url_infos),
            folder=folder,
        )
    if isinstance(error, OSError):  # a full disk, no permission
        return UserError('{set}: {error}', set=set, error=error)
    return error


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and those that it came of."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def url_of(errors: list[BaseException]) -> str:
    """Returns the URL that errors are about: the one they were asked for, or what stands in their sentences."""
    for error in errors:
        if (request := getattr(error, 'request', None)) is not None and request.url:
            return request.url
    text = ' '.join(' '.join([str(error), *getattr(error, '__notes__', ())]) for error in errors)
    if found := re.search(r'https?://[^\s,\'"<>]+', text):
        return found[0].rstrip('.')
    if found := re.search(r"HTTPS?ConnectionPool\(host='([^']+)'.*?url: (\S+)", text):
        return f'https://{found[1]}{found[2]}'
    return '…'


def reason(errors: list[BaseException]) -> str:
    """Returns the end of the story, in a few words: 'Name or service not known', 'HTTP code: 403'."""
    last = str(errors[-1]).strip() or type(errors[-1]).__name__
    if found := re.search(r'HTTP code: \d+', ' '.join(map(str, errors))):
        return found[0]
    return last.partition('\n')[0][-120:]


def by_hand(url: str, known: Mapping[str, Any]) -> str:
    """Returns which files can be placed by hand where `url` cannot be reached: those of its host, by name and address.

    TFDS takes a file of the right name and checksum from there instead of downloading it.
    """
    host = urlsplit(url).hostname
    files = [(each, info.filename) for each, info in known.items() if urlsplit(each).hostname == host and info.filename]
    listed = [f'{name} ({each})' if not each.endswith(f'/{name}') else each for each, name in files[:FEW]]
    if len(files) > FEW:
        listed.append(say('and {count:,} more', count=len(files) - FEW))
    return ', '.join(listed) or url
