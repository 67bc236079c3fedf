"""Which process drives a run: see :mod:`jupyter_mlops.tracker.process`, where spools need it too."""

from jupyter_mlops.tracker.process import boot_id, is_alive, same_process, start_time, this_runner

__all__ = ["boot_id", "is_alive", "same_process", "start_time", "this_runner"]
