"""``python -m jupyter_mlops.execution.dask.localcluster N``: a Dask cluster of N workers on this machine.

It writes an :class:`Entrance` to standard output, and ends with its standard input; so it ends with who started it.
Whoever reaches a scheduler has its workers run any code, and other people may use this machine, too: so nobody is let
in but who has the key, which is made anew each time and kept in memory.
"""

from __future__ import annotations

import sys

import msgspec


class Entrance(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to connect to the cluster."""

    address: str
    certificate: str
    """The only one that each side accepts from the other, in the form PEM,"""
    key: str
    """and its key."""


def main(workers: int) -> None:
    """Be the scheduler, and start the workers."""
    import dask
    from distributed import LocalCluster
    from distributed.security import Security

    security = Security.temporary()
    with (
        # Looks at each worker a hundred times a second, where notebooks are other processes.
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            dashboard_address=None,
            worker_dashboard_address=None,
            # Would see the worker only, too.
            memory_limit=0,
        ) as cluster,
    ):
        entrance = Entrance(
            address=cluster.scheduler_address,
            certificate=security.tls_client_cert,
            key=security.tls_client_key,
        )
        sys.stdout.write(msgspec.json.encode(entrance).decode() + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
