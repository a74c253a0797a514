"""``make bench``: every figure, as a table and as JSON.

Each ``bench_*.py`` beside this file has ``run() -> list[dict]``; a row is ``name``, ``value``, ``unit``,
``bar`` (what the figure is held to, as text), ``ok`` (True, False, or None for a figure without a bar) and
``detail`` (both sides of a ratio). A figure that falls short is printed as such; the exit code is still 0,
for these machines are shared and a bench is read, not gated on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these (log, sync, chart, ls …)")
    parser.add_argument("--json", type=Path, default=Path("bench-results.json"), help="where the JSON goes")
    arguments = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    unknown = set(arguments.names) - set(names)
    if unknown:
        parser.error(f"no bench named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    system = f"{platform.system()} {platform.machine()}"
    machine = f"{system}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(machine)
    rows: list[dict[str, object]] = []
    for name in arguments.names or names:
        started = time.monotonic()
        found = importlib.import_module(f"bench_{name}").run()
        rows += found
        print(f"\n{name} ({time.monotonic() - started:.0f} s)", flush=True)
        for row in found:
            print_row(row)
    arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    short = [row for row in rows if row.get("ok") is False]
    print(f"\n{len(rows)} figures, {len(short)} short of their bar; JSON in {arguments.json}")
    return 0


def print_row(row: dict[str, object]) -> None:
    value = row["value"]
    text = f"{value:,.3g}" if isinstance(value, float) and value < 1000 else f"{value:,.0f}"
    verdict = {True: "ok", False: "SHORT", None: ""}[row.get("ok")]  # pyright: ignore[reportArgumentType]
    print(f"  {row['name']:<58} {text:>12} {row['unit']:<10} {row.get('bar') or '':<14} {verdict}")
    if row.get("detail"):
        print(f"      {row['detail']}")


if __name__ == "__main__":
    sys.exit(main())
