from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes_json

from jupyter_mlops.recording.executed import written

PICTURE = new_output("display_data", {"image/png": "AA\n==\n", "application/json": {"b": [1], "a": "x\ny"}})
PRINTED = new_output("stream", name="stdout", text='é \u2028 "cells": []\n ],\n "metadata": {}\n}')
CELLS = (
    new_code_cell("a = 1\nb", outputs=[PICTURE, PRINTED], metadata={"trusted": True, "tags": ["x"]}),
    new_markdown_cell("# é", attachments={"a.png": {"image/png": "AA\n"}}),
    new_code_cell(""),
)
METADATA = {"kernelspec": {"name": "python3", "display_name": "p"}, "signature": "x", "about": '"cells": []'}


@pytest.mark.parametrize("count", range(len(CELLS) + 1))
def test_it_is_as_nbformat_writes_it(count: int) -> None:
    notebook = new_notebook(cells=list(CELLS[:count]), metadata=METADATA)
    assert written(notebook) == nbformat.writes(notebook).encode()
    assert notebook.metadata.signature == "x"


def test_what_is_json_to_python_only_stays() -> None:
    shown = new_output("display_data", {"application/json": {"a": [float("nan"), 1e400]}, "text/plain": "x\ny"})
    notebook = new_notebook(cells=[new_code_cell("a", outputs=[shown])])
    assert written(notebook) == writes_json(notebook).encode()
    assert shown.data["text/plain"] == "x\ny"


def test_halves_of_characters_are_replaced() -> None:
    assert b'"?"' in written(new_notebook(cells=[new_code_cell("\ud800")]))
