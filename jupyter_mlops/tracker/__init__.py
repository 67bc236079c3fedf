"""The door: the :class:`~jupyter_mlops.tracker.protocol.Tracker` protocol and its implementations; ``connect`` picks one."""
