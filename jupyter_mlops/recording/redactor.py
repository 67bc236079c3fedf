"""Keeps a notebook run's secrets out of everything that is written about it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from jupyter_mlops.core.records import Json
from jupyter_mlops.core.redaction import (
    Withheld,
    is_secret_name,
    redact_params,
    redact_tags,
    redact_text,
    redact_value,
    secret_values,
)
from jupyter_mlops.recording.outputs import Logged
from jupyter_mlops.recording.source import INJECTED_TAG


class Redactor:
    """Knows the secret values among a run's parameters and in the environment its kernel gets."""

    def __init__(self, parameters: Mapping[str, Json]) -> None:
        """``parameters`` are all that the run has, defaults included."""
        # Of the environment only what is secret by name is read: there is much in it.
        environment = {name: os.environ[name] for name in os.environ if is_secret_name(name)}
        self._secrets = secret_values(environment) | secret_values(parameters)
        self._redacted = {name: redact_value(name, value) for name, value in parameters.items()}
        self._changed = {name for name, value in parameters.items() if self._redacted[name] != value}

    def text(self, text: str) -> str:
        return redact_text(text, self._secrets)

    def stream(self) -> Withheld:
        """For a text that comes in pieces, none of which shows the secret that is in them together."""
        return Withheld(self._secrets)

    def output(self, output: Any) -> None:
        """Redact an output of a cell in place; pictures and other encoded bytes are left alone."""
        if output["output_type"] == "stream":
            output["text"] = self.text(_joined(output["text"]))
        elif output["output_type"] == "error":
            output["evalue"] = self.text(output["evalue"])
            output["traceback"] = [self.text(line) for line in output["traceback"]]
        else:
            for mime, value in output.get("data", {}).items():
                if not mime.startswith(("image/png", "image/jpeg", "application/pdf")):
                    output["data"][mime] = self._json(value)
            if output.get("metadata"):
                output["metadata"] = self._json(output["metadata"])

    def widgets(self, notebook: Any) -> None:
        """Redact, in place, what the notebook keeps of its widgets: their values, and outputs that are shown in one."""
        if "widgets" in notebook.metadata:
            notebook.metadata["widgets"] = self._json(notebook.metadata["widgets"])

    def logged(self, logged: Logged) -> Logged:
        """What an output logs, without secrets; files are the notebook's own affair."""
        return msgspec.structs.replace(
            logged,
            params=list(redact_params(logged.params, self._secrets)),
            tags=list(redact_tags(logged.tags, self._secrets)),
            problems=[self.text(problem) for problem in logged.problems],
        )

    def cell(self, cell: Any) -> None:
        """Redact what has the shape of a secret only when two outputs of the cell are put together. (The known secrets
        are kept together by :meth:`stream`.)"""
        if not self._secrets:
            return
        # In escaped forms a character takes up to six.
        reach = 6 * max(map(len, self._secrets))
        previous = None
        for output in cell.get("outputs", ()):
            if output["output_type"] != "stream":
                previous = None
                continue
            if previous is not None and previous["name"] == output["name"]:
                seam = previous["text"][-reach:] + output["text"][:reach]
                if self.text(seam) != seam:
                    previous["text"], output["text"] = self.text(previous["text"] + output["text"]), ""
            previous = output if output["text"] else previous

    def notebook(self, notebook: Any) -> Any:
        """The notebook without the values of secret parameters; the notebook itself when there are none."""
        given = notebook.metadata.get("papermill", {}).get("parameters", {})
        if not self._changed & set(given):
            return notebook
        from papermill.translators import translate_parameters

        shown = {name: self._redacted.get(name, value) for name, value in given.items()}
        result = copy.copy(notebook)
        result.metadata = copy.deepcopy(notebook.metadata)
        result.metadata.papermill["parameters"] = shown
        result.cells = list(notebook.cells)
        # JupyterLab writes an empty name before it has seen a kernel.
        language = notebook.metadata.get("language_info", {}).get("name") or "python"
        kernel = notebook.metadata.get("kernelspec", {}).get("name", "python3")
        for index, cell in enumerate(result.cells):
            if INJECTED_TAG in cell.metadata.get("tags", ()):
                result.cells[index] = copy.copy(cell)
                result.cells[index].source = translate_parameters(kernel, language, shown, "Parameters")
        return result

    def _json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if isinstance(value, dict):
            return {key: self._json(item) for key, item in value.items()}
        return value


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "".join(text)
