"""The engine ``fork``: what does not depend on the swept parameters is executed once, and each point goes on from there
in a process forked off."""
