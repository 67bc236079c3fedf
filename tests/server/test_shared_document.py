"""A notebook that is open in editors, with jupyter-collaboration: what they see is what runs."""

from __future__ import annotations

import pytest

from tests.notebook_files import printed, write_notebook
from tests.server.jupyter import JupyterServer
from tests.server.test_jobs import ended, submit

pytest.importorskip("jupyter_server_ydoc")
pytestmark = pytest.mark.slow


def test_the_shared_document_is_what_runs(server: JupyterServer) -> None:
    path = write_notebook(server.work / "shared.ipynb", "print('as saved')")
    before = path.read_bytes()
    assert server.ask("PUT", "tests/share/shared.ipynb", {"source": "print('as seen')"}).status == 204
    assert server.ask("GET", "mlops/server/v1/notebook?path=shared.ipynb").json["is_shared"]
    run_id = submit(server, "shared.ipynb")["run_id"]
    assert ended(server, run_id)["status"] == "FINISHED"
    executed = server.ask("GET", f"mlops/api/v1/runs/{run_id}/content?path=notebook/executed.ipynb").json
    assert printed(executed) == "as seen\n"
    assert path.read_bytes() == before
