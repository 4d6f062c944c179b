"""tensorboard/: the rows of metrics.jsonl as TensorBoard's events, and samples as its text or its
images.

tensorboard --logdir=runs         (TensorBoard itself is not part of jaxlab: pip install tensorboard)

One row is one event, so a file of events is what metrics.jsonl is. A resumed run first cuts what lies after the step it
resumes from, and then adds what metrics.jsonl has and the events lack: TensorBoard shows one curve, without doubles or
gaps.

In an object store no file can grow: events are spooled in a folder of this machine, and the file is uploaded now and
then, whole.
"""

import os
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.sheet import png
from jaxlab.observers import Run, Sample
from jaxlab.trust import faults, lines, place

FLUSH = 10.0  # seconds between two flushes, so that a running TensorBoard has something to show
UPLOAD = 60.0  # seconds between two uploads


class TensorBoard:
    """Writes events. tensorboardX is imported by the first row: it is slow to import, and no first step wants it."""

    _folder: Path
    _writer: Any = None

    def start(self, run: Run) -> None:
        self._folder, self._flushed = run.workdir / 'tensorboard', 0.0
        self._last = run.start, not run.best.owed  # what stands; see `lines.stands`
        self._spools = not place.can(self._folder).append

    def row(self, step: int, row: Mapping[str, float]) -> None:
        self._write(step, summary_of(row))
        if time.monotonic() - self._flushed > (UPLOAD if self._spools else FLUSH):
            self._writer.flush()
            self._upload()
            self._flushed = time.monotonic()

    def sample(self, step: int, sample: Sample) -> None:
        self._write(step, text_of(sample) if isinstance(sample, str) else image_of(sample))

    def back(self, step: int) -> None:
        if self._writer is None:  # nothing is cut yet
            self._last = min(self._last, (step, True))
            return
        self._writer.close()
        self._upload()
        self._writer, self._last = None, (step, True)
        self._cut(self._last)

    def end(self, step: int) -> None:
        if self._writer:
            self._writer.close()
            self._upload()

    def _write(self, step: int, summary: Any) -> None:
        faults.reach('tensorboard', step)
        if self._writer is None:
            self._spool = place.spool(self._folder.parent, self._folder.name)
            self._spool.mkdir(exist_ok=True)
            self._cut(self._last)
            from tensorboardX.event_file_writer import EventsWriter

            # Named after the process too: two starts within one second would otherwise write over each other.
            self._writer = EventsWriter(str(self._spool / 'events'), f'.{os.getpid()}.{time.monotonic_ns()}')
            self._fill()
        self._add(step, summary)

    def _add(self, step: int, summary: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))

    def _fill(self) -> None:
        """Adds the rows that a killed process had not written yet."""
        files = [file for file in place.entries(self._spool) if '.tfevents.' in file.name]
        found = [event for file in files for _, event in events(file)]
        have = {(event.step, lines.kind(value.tag for value in event.summary.value)) for event in found}
        for row in lines.rows(self._folder.parent / 'metrics.jsonl'):
            step = row.pop('step')
            if lines.stands(step, row, self._last) and (step, lines.kind(row)) not in have:
                self._add(step, summary_of(row))

    def _cut(self, last: lines.Position) -> None:
        for file in place.entries(self._folder):
            if '.tfevents.' not in file.name:
                continue
            if not self._spools:
                cut(file, last)
                continue
            spooled = self._spool / file.name
            spooled.write_bytes(before := file.read_bytes())
            cut(spooled, last)
            if not spooled.exists():
                place.remove(file)
            elif spooled.stat().st_size < len(before):
                place.write(file, spooled.read_bytes())

    def _upload(self) -> None:
        if self._spools:
            file = Path(self._writer._file_name)
            place.write(self._folder / file.name, file.read_bytes())


def summary_of(row: Mapping[str, float]) -> Any:
    import_without_torch()
    from tensorboardX.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in row.items()])


def text_of(text: str) -> Any:
    import_without_torch()
    from tensorboardX import summary

    lines = ''.join(f'    {line}\n' for line in text.splitlines())  # indented: TensorBoard takes text for Markdown
    return summary.text('sample', lines)


def image_of(picture: np.ndarray) -> Any:
    import_without_torch()
    from tensorboardX.proto.summary_pb2 import Summary

    height, width, channels = picture.shape
    image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png(picture))
    return Summary(value=[Summary.Value(tag='sample', image=image)])


def import_without_torch() -> None:
    """Imports tensorboardX, which would import torch with it wherever that is installed: seconds and hundreds of MB."""
    hidden = 'torch' not in sys.modules
    if hidden:
        sys.modules['torch'] = None  # type: ignore[assignment]  # makes `import torch` fail, and tensorboardX knows why
    try:
        import tensorboardX  # noqa: F401
    finally:
        if hidden:
            del sys.modules['torch']


def cut(file: Path, last: lines.Position) -> None:
    """Cuts a file of events before the first one after `last`, or before half of a last one; an empty file goes."""
    kept = end = 0
    for position, event in events(file):
        if not lines.stands(event.step, (value.tag for value in event.summary.value), last):
            break
        end = position
        kept += event.HasField('summary')
    if not kept:
        file.unlink()
    elif end < file.stat().st_size:
        os.truncate(file, end)


def events(file: Path) -> Iterator[tuple[int, Any]]:
    """Yields (position in the file after it, event) for each whole event of a file.

    A record is its length, uint64, a checksum of that, uint32, the event, and a checksum of the event, uint32.
    """
    import_without_torch()
    from tensorboardX.proto.event_pb2 import Event

    with file.open('rb') as opened:
        while len(head := opened.read(12)) == 12:
            (length,) = struct.unpack('<Q', head[:8])
            body = opened.read(length + 4)
            if len(body) < length + 4:
                return
            yield opened.tell(), Event.FromString(body[:length])
