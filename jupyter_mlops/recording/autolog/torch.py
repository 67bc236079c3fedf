"""Autologging for PyTorch: optimizers and the losses they act upon.

PyTorch has no training loop that could be watched, so two events are: ``loss.backward()`` and ``optimizer.step()``. The
loss of a step is the value that ``backward()`` was last called on before it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.records import Batch, Metric
from jupyter_mlops.recording.autolog.harmless import Harmless
from jupyter_mlops.recording.autolog.options import Hooks, Options
from jupyter_mlops.recording.session import current

_UNSCALED = "_mlops_unscaled"


def install(options: Options) -> Hooks:
    """Watch all optimizers and the gradients of scalars."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    hooks = Hooks()
    logger = _StepLogger(options)
    hooks.add(register_optimizer_step_post_hook(logger.stepped).remove)

    def replace(owner: type, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        original = getattr(owner, name)
        setattr(owner, name, make(original))
        hooks.add(lambda: setattr(owner, name, original))

    replace(torch.Tensor, "backward", logger.watching_backward)
    replace(torch.amp.GradScaler, "scale", logger.watching_scale)
    return hooks


class _Training(msgspec.Struct):
    """What one optimizer has done in one run."""

    run_id: str
    suffix: str
    """Empty for the run's first optimizer, ``_2`` for the second..."""
    steps: int = 0


class _StepLogger:
    def __init__(self, options: Options) -> None:
        self._every = options.log_every_n_step
        self._harmless = Harmless(silent=options.silent)
        self._trainings: WeakKeyDictionary[Any, _Training] = WeakKeyDictionary()
        self._optimizers: dict[str, int] = {}
        self._last = threading.local()

    def watching_backward(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def watched(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            # Only a reference: reading the value would wait for the device.
            self._last.loss = getattr(tensor, _UNSCALED, tensor).detach() if tensor.numel() == 1 else None
            return backward(tensor, *args, **kwargs)

        return watched

    def watching_scale(self, scale: Callable[..., Any]) -> Callable[..., Any]:
        """A loss that is scaled for half precision is logged as it was before."""

        @functools.wraps(scale)
        def watched(scaler: Any, outputs: Any) -> Any:
            scaled = scale(scaler, outputs)
            if hasattr(scaled, "numel") and scaled is not outputs:
                setattr(scaled, _UNSCALED, outputs.detach())
            return scaled

        return watched

    def stepped(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        """After a step of any optimizer."""
        with self._harmless("the training step"):
            training = self._training(optimizer)
            training.steps += 1
            loss = getattr(self._last, "loss", None)
            if (training.steps - 1) % self._every == 0:
                self._log(training, optimizer, loss)

    def _training(self, optimizer: Any) -> _Training:
        run_id = current().logged_to().run_id
        training = self._trainings.get(optimizer)
        if training is None or training.run_id != run_id:
            number = self._optimizers[run_id] = self._optimizers.get(run_id, 0) + 1
            training = _Training(run_id, "" if number == 1 else f"_{number}")
            self._trainings[optimizer] = training
            self._log_optimizer(training, optimizer)
        return training

    def _log_optimizer(self, training: _Training, optimizer: Any) -> None:
        name = f"optimizer{training.suffix}"
        params = [values.param(f"{name}_name", type(optimizer).__name__)]
        for key, value in optimizer.defaults.items():
            if isinstance(value, (bool, int, float, str, tuple)) or value is None:
                params.append(values.param(f"{name}_{key}", value))
        current().log(training.run_id, Batch(params=tuple(params)))

    def _log(self, training: _Training, optimizer: Any, loss: Any) -> None:
        points: list[Metric] = []
        if loss is not None:
            points.append(values.metric(f"loss{training.suffix}", loss.item(), step=training.steps))
        rate = optimizer.param_groups[0].get("lr")
        if rate is not None:
            points.append(values.metric(f"learning_rate{training.suffix}", float(rate), step=training.steps))
        if points:
            current().log_metrics(training.run_id, tuple(points))
