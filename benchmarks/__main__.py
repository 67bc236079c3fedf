"""Run the benchmarks: ``python -m benchmarks [store] [recording] [service] [mlflow] [sweep]`` (all by default).

Each suite renews its section of ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import dialect, recording, report, service, store, sweep
from benchmarks.measure import Comparison

SUITES: dict[str, Callable[[bool], Iterator[Comparison]]] = {
    "store": store.compare,
    "recording": recording.compare,
    "service": service.compare,
    "mlflow": dialect.compare,
    "sweep": sweep.compare,
}
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], help="which to run; all when none is named")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; writes no page")
    arguments = parser.parse_args()
    for name in arguments.suites or SUITES:
        comparisons: list[Comparison] = []
        for comparison in SUITES[name](arguments.quick):
            comparisons.append(comparison)
            print(report.line(comparison), flush=True)
        if not arguments.quick:
            made = report.section(name, comparisons, datetime.date.today())
            page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
            PAGE.write_text(report.updated(page, {name: made}, list(SUITES)), encoding="utf-8")
            print(f"\n## {made}\nwritten to {PAGE}\n")


if __name__ == "__main__":
    main()
