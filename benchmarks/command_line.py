"""How long `rtpipeline --help` takes, against Python importing Typer and Rich and nothing else.

Processor time of whole processes, start of the interpreter included; both alternate, and the median counts.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

ROUNDS = 15
SIDES = {
    "import": ("-c", "import typer, rich"),
    "help": ("-c", "from rtpipeline.cli.app import main; main(['--help'])"),
}


def processor_seconds(arguments: tuple[str, ...]) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(ROUNDS):
        for side, arguments in SIDES.items():
            seconds[side].append(processor_seconds(arguments))
    medians = {side: statistics.median(found) for side, found in seconds.items()}
    ratio = medians["help"] / medians["import"]
    print(f"import typer, rich  {1000 * medians['import']:6.0f} ms")
    print(f"rtpipeline --help   {1000 * medians['help']:6.0f} ms, {ratio:.2f} times as long")
    bars = {"help_over_import": {"value": ratio, "at_most": 2.0, "ok": ratio <= 2.0}}
    print(json.dumps({"name": "command_line", "figures": medians, "bars": bars, "ok": ratio <= 2.0}))
    sys.exit(0 if ratio <= 2.0 else 1)


if __name__ == "__main__":
    main()
