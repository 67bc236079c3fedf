"""The main job, end to end, with the commands a person would type: run, sweep, compare, register, use.

Everything is kept in ``.demo`` beside this repository's files (or in the folder given as argument), so that it can be
looked at and thrown away. It can be repeated: runs and model versions are added.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else ROOT / ".demo"
NOTEBOOK = "examples/breast-cancer.ipynb"
MODEL = "breast-cancer"
ENVIRONMENT = {
    **os.environ,
    "MLOPS_HOME": str(HOME),
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
}
for name in ("MLOPS_TRACKING_URL", "MLOPS_ARTIFACTS_URL", "MLOPS_EXPERIMENT"):
    # The demo keeps to its own store.
    ENVIRONMENT.pop(name, None)


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def do(command: str, *, why: str) -> None:
    """Show a command, then run it as it is."""
    say(why)
    print(f"$ {command}\n", flush=True)
    ended = subprocess.run(shlex.split(command), cwd=ROOT, env=ENVIRONMENT, check=False)
    if ended.returncode != 0:
        sys.exit(f"\nThe demo stops here: the command above ended with status {ended.returncode}.")


def ask(command: str) -> list[dict[str, object]]:
    """The JSON answer of a command."""
    ended = subprocess.run(shlex.split(command), cwd=ROOT, env=ENVIRONMENT, check=False, capture_output=True)
    if ended.returncode != 0:
        sys.exit(f"{command}\n{ended.stderr.decode()}")
    found: list[dict[str, object]] = json.loads(ended.stdout)
    return found


def main() -> None:
    do(f"jupyter mlops run {NOTEBOOK}", why="1. Run a notebook as an experiment")
    do(
        f"jupyter mlops sweep {NOTEBOOK} --grid learning_rate=0.001,0.002,0.005,0.02 --grid hidden_units=4,16,64 "
        "--metric valid_loss --minimize",
        why="2. Sweep two of its parameters: 12 points",
    )
    order = "--order-by 'metrics.valid_loss ASC'"
    best = [str(run["name"]) for run in ask(f"jupyter mlops runs list \"status = 'FINISHED'\" {order} -n 4 --json")]
    do(f"jupyter mlops runs compare {' '.join(best)}", why="3. Compare the best runs")
    do(
        f"jupyter mlops models register {best[0]} {MODEL} --alias production",
        why="4. Register the best run's model, and say that it is the one in production",
    )
    do("python examples/predict.py", why="5. Load it by name in a fresh process and ask it for predictions")
    say("Done.")
    print(f"""
Everything lies in {HOME}: mlops.db (runs, metrics, models) and artifacts/ (notebooks, figures, model files).

Next:
  export MLOPS_HOME={shlex.quote(str(HOME))} PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH
  jupyter mlops runs list --children
  jupyter mlops runs show {best[0]}
  jupyter mlops runs notebook {best[0]} --output executed.ipynb
  jupyter mlops rerun {best[0]} -p epochs 80
  jupyter mlops models show {MODEL}

To throw it away: rm -r {shlex.quote(str(HOME))}""")


if __name__ == "__main__":
    main()
