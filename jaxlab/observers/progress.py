"""Progress on the screen: plain lines, so that a log file reads like the screen did."""

from collections.abc import Mapping

from jaxlab.observers import Run


class Progress:
    """Prints devices, data and parameters first, then one line a row."""

    def start(self, run: Run) -> None:
        self._steps = run.config.steps
        print(f'devices     {run.devices}')
        print(f'data        {run.data}')
        print(f'evaluation  {run.evaluation}')
        print(f'workdir     {run.workdir}')
        total = sum(row['count'] for row in run.layout)
        per_device = sum(row['bytes_per_device'] for row in run.layout)
        print(f'parameters  {total:,} ({readable(per_device)} on each device)')
        width = max(len(row['name']) for row in run.layout)
        for row in run.layout:
            times = f'{row["times"]} × ' if row['times'] > 1 else ''
            shape = ', '.join(
                f'{name} {size}' if name else f'{size}' for name, size in zip(row['names'], row['shape'], strict=True)
            )
            print(f'  {row["name"]:{width}}  {times + shape:36}  {row["split"]}'.rstrip())
        print(
            f'resumed at step {run.start}' if run.start else f'training {self._steps:,} steps; the first compiles',
            flush=True,
        )

    def row(self, step: int, row: Mapping[str, float]) -> None:
        if 'train/loss' in row:
            parts = [f'loss {row["train/loss"]:.4f}', f'learning rate {row["train/learning_rate"]:.2e}']
            parts.append(f'gradient norm {row["train/gradient_norm"]:.2f}' if 'train/gradient_norm' in row else '')
            rate = next((name for name in ('tokens', 'examples') if f'train/{name}_per_second' in row), '')
            parts.append(f'{row[f"train/{rate}_per_second"]:,.0f} {rate}/s' if rate else '')
            parts.append(f'{duration(row["train/seconds_left"])} left' if 'train/seconds_left' in row else '')
        else:
            parts = [
                f'{name.removeprefix("eval/")} {value:.4f}' for name, value in row.items() if name.startswith('eval/')
            ]
        print(f'step {step:>{len(f"{self._steps}")}}  ' + '  '.join(part for part in parts if part), flush=True)

    def sample(self, step: int, text: str) -> None:
        lines = '\n'.join(f'    | {line}' for line in text.splitlines())
        print(f'sample at step {step}:\n{lines}', flush=True)

    def end(self, step: int) -> None:
        pass


def readable(count: float) -> str:
    """Returns bytes in a unit that people read: '12.3 MiB'."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024:
            return f'{count:.0f} {unit}' if unit == 'B' else f'{count:.1f} {unit}'
        count /= 1024
    return f'{count:.1f} TiB'


def duration(seconds: float) -> str:
    """Returns '0:41', '12:05' or '3:12:05'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
