"""``loads``: the candidate loads, predicts its recorded example, and fits where the champion is used."""

from __future__ import annotations

from pathlib import Path

from jupyter_mlops.checks.check import Finding, Subject, failed, passed, with_process
from jupyter_mlops.checks.sandbox import Enclosed
from jupyter_mlops.checks.signatures import incompatibilities
from jupyter_mlops.core.checks import LoadsSettings
from jupyter_mlops.core.errors import MissingDependency
from jupyter_mlops.core.records import Json
from jupyter_mlops.recording import model_formats
from jupyter_mlops.recording.model_formats import read_mlmodel


class LoadsCheck:
    """The signature is compared first, since it needs none of the candidate's code."""

    def __call__(self, subject: Subject) -> Finding:
        settings = subject.settings(LoadsSettings)
        folder = subject.folder(subject.candidate)
        mlmodel = read_mlmodel(folder)
        fits = "there is no champion to be compatible with"
        if settings.compatible and subject.champion is not None:
            problems = incompatibilities(mlmodel, read_mlmodel(subject.folder(subject.champion)))
            name = f"the champion (version {subject.champion.version})"
            if problems:
                told = f"what works with {name} does not work with it: {'; '.join(problems)}"
                return failed(told, {"incompatible": problems})
            fits = f"its signature is compatible with that of {name}"
        if settings.example and not mlmodel.get("saved_input_example_info"):
            return failed("it has no recorded example to predict: log_model(..., input_example=...) records one")
        process = subject.sandbox.run(f"{__name__}:predict", {"folder": str(folder)})
        problem = failure(process)
        if problem is not None:
            return with_process(problem, process)
        detail = process.value if isinstance(process.value, dict) else {}
        predicted = "loads and predicts its example" if detail.get("predicted") else "loads"
        return with_process(passed(f"it {predicted}; {fits}", detail), process)


def failure(process: Enclosed) -> Finding | None:
    """The finding on a process that came to no answer; None on one that did.

    Raises
    ------
    MissingDependency
        The worker lacks what the model needs: that says nothing of the model.
    """
    if process.error is None:
        return None
    if process.kind == MissingDependency.__name__:
        raise MissingDependency(process.error)
    return failed(process.error)


# --- in the enclosed process -----------------------------------------------------------------------------------------


def predict(folder: str) -> dict[str, Json]:
    """Load the model of a folder, have it predict its example, and say in a few words what came out."""
    place = Path(folder)
    model = model_formats.load_model(place)
    example = model_formats.input_example(place)
    if example is None:
        return {"predicted": False}
    answer = model.predict(example)
    return {
        "predicted": True,
        "rows": len(example) if hasattr(example, "__len__") else None,
        "type": f"{type(answer).__module__}.{type(answer).__qualname__}",
        "shape": list(getattr(answer, "shape", ())),
        "answer": repr(answer)[:1000],
    }


def load_safely(folder: str) -> None:
    """Load the model of a folder; ``UnsafeModel`` when its bytes are not of the safe format that it claims."""
    model_formats.load_model(Path(folder), allow_unsafe=False)
