"""Run the benchmarks: ``python -m benchmarks [store] [recording] [service] [mlflow] [sweep]`` (all by default)."""

from __future__ import annotations

import argparse
import datetime
import sys
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
    comparisons: dict[str, list[Comparison]] = {}
    for name in arguments.suites or SUITES:
        for comparison in SUITES[name](arguments.quick):
            comparisons.setdefault(name, []).append(comparison)
            print(report.line(comparison), flush=True)
    print()
    page = report.page(comparisons, datetime.date.today())
    print(page)
    if not arguments.quick and not arguments.suites:
        PAGE.write_text(page, encoding="utf-8")
        print(
            f"written to {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}", file=sys.stderr
        )


if __name__ == "__main__":
    main()
