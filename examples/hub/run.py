"""``make hub``: a JupyterHub on this machine with the service, two groups and four users, until Ctrl-C.

Everything it makes lies in ``.demo/hub`` beside this repository's files, or in the folder given as argument.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted(HERE.parent.glob("*.ipynb"))
USERS = {
    "ann": "data scientist, group churn",
    "ben": "data scientist, group fraud",
    "lea": "lead of both groups",
    "admin": "administers the hub and the service",
}
PORTS = {"public": 8000, "hub": 8081, "proxy": 8001, "service": 10380}
START_SECONDS = 120
STOP_SECONDS = 30


def main() -> None:
    folder = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else HERE.parent.parent / ".demo" / "hub"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = kept_passwords(folder / "passwords.json")
    for user in USERS:
        home = folder / "home" / user
        home.mkdir(parents=True, exist_ok=True)
        for notebook in NOTEBOOKS:
            if not (home / notebook.name).exists():
                shutil.copyfile(notebook, home / notebook.name)
    ports = {name: free_port(port) for name, port in PORTS.items()}
    url = f"http://127.0.0.1:{ports['public']}"

    # Ctrl-C and a closed terminal are for this process, which then stops the hub, once.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    log = folder / "jupyterhub.log"
    with log.open("ab") as written:
        hub = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "--config", str(HERE / "jupyterhub_config.py")],
            cwd=folder,
            env=environment(folder, ports),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        print("JupyterHub is starting ...", flush=True)
        wait_until_ready(hub, f"{url}/services/mlops/health", log)
        print(f"\nJupyterHub is ready at {url}\n\nLog in as\n")
        for user, about in USERS.items():
            print(f"  {user:6} {passwords[user]:16} {about}")
        print(
            f"\nThe service's page: {url}/services/mlops/\nIts log and the hub's: {log}\n"
            "Everybody's notebooks run as you: this is for a look, not for others.\n\nCtrl-C stops everything.",
            flush=True,
        )
        hub.wait()
        sys.exit(f"JupyterHub ended by itself; {log} tells why.")
    except KeyboardInterrupt:
        print("\nStopping ...", flush=True)
    finally:
        stop(hub)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def kept_passwords(path: Path) -> dict[str, str]:
    """A password for each user, made at the first start."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({user: secrets.token_urlsafe(9) for user in USERS}, file)
    found: dict[str, str] = json.loads(path.read_text())
    return found


def free_port(preferred: int) -> int:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", preferred))
        except OSError:
            tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def environment(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTERHUB_", "MLOPS_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", "")])
    return {**own, "PATH": path, "DEMO_HUB_FOLDER": str(folder), "DEMO_HUB_PORTS": json.dumps(ports)}


def wait_until_ready(hub: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if hub.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"JupyterHub did not start; {log} tells why.")
        time.sleep(0.2)


def stop(hub: subprocess.Popen[bytes]) -> None:
    """Have the hub stop its servers, its proxy and the service; end what is left of them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    started = psutil.Process(hub.pid).children(recursive=True) if hub.poll() is None else []
    hub.send_signal(signal.SIGINT)
    try:
        hub.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        hub.kill()
    for process in started:
        if process.is_running():
            process.terminate()
    _, stubborn = psutil.wait_procs(started, 10)
    for process in stubborn:
        process.kill()


if __name__ == "__main__":
    main()
