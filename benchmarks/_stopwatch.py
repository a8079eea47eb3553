"""Run one command and write down what it cost: ``_stopwatch.py FIGURES COMMAND...``.

Linux counts the memory of the process that called ``exec`` into the peak of the new one. This script imports next to
nothing and is run with ``python -I -S``, so that it adds no more than about 10 MiB, where the benchmark itself would
hide the peak of every small peer.
"""

import os
import sys
import time


def main() -> None:
    figures, command = sys.argv[1], sys.argv[2:]
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    with open(figures, "w") as file:
        code = os.waitstatus_to_exitcode(status)
        print(code, wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, file=file)


main()
