"""One million rows of a query as a DataFrame, from a recorder that runs to Python.

Usage: .venv/bin/python bench/sql-python.py [--runs N] [--rows N]

Starts a recorder on a folder of its own. Prints for each kind of result the median and the slowest time in seconds, without the
first run; what of it goes to waiting for the bytes and to making a frame of them; and, on Linux, the processor time that each
process took for a run: what a machine that does other things adds is in the times alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

import syft_sync  # noqa: E402
from syft_sync import query as query_module  # noqa: E402
from syft_sync.command import command_line  # noqa: E402

# As wide as the rows that people ask for: what happened to which file when, and how large it was.
QUERY = """
SELECT range AS n, 'data/folder-' || (range % 1000) || '/file-' || range || '.csv' AS path,
  TIMESTAMPTZ '2026-11-01' + INTERVAL 1 SECOND * range AS at, range * 3 AS size, random() AS share
FROM range({rows})
"""


def processor_times(recorder: int) -> dict[str, float]:
    """Seconds that the recorder, the process that runs queries and this one have computed; without /proc this one alone."""
    times = {"python": time.process_time()}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        name = {int(stat.parent.name): "recorder", int(fields[1]): "queries"}.get(recorder)
        if name is not None:
            ticks = int(fields[11]) + int(fields[12])
            times[name] = times.get(name, 0.0) + ticks / os.sysconf("SC_CLK_TCK")
    return times


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    given = arguments.parse_args()
    text = QUERY.format(rows=given.rows)
    waited: list[float] = []
    ask = query_module._ask

    def timed_ask(*arguments: object) -> object:
        began = time.perf_counter()
        answer = ask(*arguments)  # type: ignore[arg-type]
        waited.append(time.perf_counter() - began)
        return answer

    query_module._ask = timed_ask  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="syft-bench-sql-") as folder:
        (Path(folder) / "a.csv").write_text("a\n")
        recorder = subprocess.Popen([*command_line(), "-C", folder, "--json", "watch"], stdout=subprocess.PIPE, text=True)
        try:
            assert recorder.stdout is not None
            while '"ready":true' not in (line := recorder.stdout.readline()):
                if not line:
                    sys.exit("the recorder ended before it was ready")
            for kind, library in (("pandas", "pandas"), ("polars", "polars"), ("arrow", "pyarrow")):
                if importlib.util.find_spec(library) is None:
                    print(f"{kind}: not installed")
                    continue
                waited.clear()
                times = []
                before: dict[str, float] = {}
                for _ in range(given.runs + 1):
                    began = time.perf_counter()
                    frame = syft_sync.sql(text, as_=kind, workspace=folder, max_rows=given.rows, timeout=120)
                    times.append(time.perf_counter() - began)
                    assert len(frame) == given.rows
                    before = before or processor_times(recorder.pid)
                median, bytes_only = statistics.median(times[1:]), statistics.median(waited[1:])
                slowest = max(times[1:])
                print(f"{kind}: {given.rows:,} rows, median {median:.3f} s, slowest {slowest:.3f} s, first {times[0]:.3f} s;")
                after = processor_times(recorder.pid)
                each = [f"{name} {(after[name] - before.get(name, 0)) / given.runs:.3f} s" for name in after]
                print(f"  processor time: {', '.join(each)}")
                print(f"  until the bytes are there {bytes_only:.3f} s, to a frame {median - bytes_only:.3f} s")
        finally:
            recorder.terminate()
            recorder.wait()


if __name__ == "__main__":
    main()
