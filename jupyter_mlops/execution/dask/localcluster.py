"""``python -m jupyter_mlops.execution.dask.localcluster N``: a Dask cluster of N workers on this machine.

It writes its address to standard output, and ends with its standard input; so it ends with who started it.
"""

from __future__ import annotations

import sys


def main(workers: int) -> None:
    """Be the scheduler, and start the workers."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
        # Notebooks are processes of their own, which this would not see.
        memory_limit=0,
    ) as cluster:
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
