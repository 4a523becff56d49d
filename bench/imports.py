"""The duration of `import gnomon` and `gnomon --help`, each in its own process and minus the bare interpreter.

python bench/imports.py [--times 15]
"""

from __future__ import annotations

import subprocess
import sys
import time

from measure import arguments, quartiles, report


def spent(*command: str) -> float:
    """Return the milliseconds that a program takes."""
    before = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - before) * 1e3


def main() -> None:
    """Measure and print the results."""
    times = arguments("Imports.", times=15).times
    rounds = [
        (spent("-c", ""), spent("-c", "import gnomon"), spent("-c", "from gnomon import Kernel, Job"),
         spent("-c", "import sys; sys.argv = ['gnomon', '--help']; from gnomon.cli import main; main()"))
        for _ in range(times)
    ]  # fmt: skip
    bare, lazy, kernel, helped = (quartiles([one[n] - (one[0] if n else 0) for one in rounds]) for n in range(4))
    report(
        "imports",
        f"`import gnomon` takes {lazy['median']} ms and `from gnomon import Kernel, Job` {kernel['median']} ms, "
        f"`gnomon --help` {helped['median']} ms, in addition to the {bare['median']} ms of the interpreter.",
        interpreter_ms=bare,
        import_gnomon_ms=lazy,
        import_kernel_ms=kernel,
        help_ms=helped,
    )


if __name__ == "__main__":
    main()
