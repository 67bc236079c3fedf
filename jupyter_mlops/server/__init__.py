"""The Jupyter server extension: the API beside the user's notebooks, and the runs they submit."""
