"""``python -m jupyter_mlops.execution.dask.localcluster N``: a Dask cluster of N workers on this machine.

It writes its address to standard output, and ends with its standard input; so it ends with who started it.
"""

from __future__ import annotations

import sys


def main(workers: int) -> None:
    """Be the scheduler, and start the workers."""
    import dask
    from distributed import LocalCluster

    with (
        # Looks at each worker a hundred times a second, where notebooks are other processes.
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            # Would see the worker only, too.
            memory_limit=0,
        ) as cluster,
    ):
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
