"""What `plan` says of two pods that are not here, and how long it takes to say so.

    python launch/bench/plan_pods.py

The seconds are those of the whole command. What else the machine did meanwhile is in `load`, of its cores.
"""

import json
import os
import subprocess
import sys
import time

import record

PODS = {
    'llama_8b on v5e:16x16': ('llama_8b', 'v5e:16x16', {'fsdp': 256}),
    'llama_70b on v5p:8x8x8': ('llama_70b', 'v5p:8x8x8', {'fsdp': 128, 'tensor': 4}),
}


def main() -> int:
    found = {}
    for name, (size, topology, mesh) in PODS.items():
        given = [f'--config=configs/transformer.py:{size}', f'--topology={topology}']
        given += [f'--config.mesh.{axis}={count}' for axis, count in mesh.items()]
        begin = time.monotonic()
        command = [sys.executable, '-m', 'jaxlab.main', 'plan', *given, '--json']
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = time.monotonic() - begin
        load = round(os.getloadavg()[0], 1)
        found[name] = {'command_seconds': round(seconds, 1), 'load': load, **json.loads(said.splitlines()[-1])}
        print(name, f'{seconds:.1f} s', flush=True)
    record.write('plan_pods', found)
    return 0


if __name__ == '__main__':
    sys.exit(main())
