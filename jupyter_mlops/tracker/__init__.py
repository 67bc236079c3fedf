"""The door: the ``Tracker`` protocol and its implementations; ``connect`` picks one."""
