"""The command line, ``jupyter mlops ...``. One module a command group; :mod:`.main` composes them."""
