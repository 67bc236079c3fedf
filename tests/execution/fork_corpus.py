"""Notebooks of every kind, in which forked kernels are to give what fresh ones give. ``x`` is swept."""

from __future__ import annotations

from typing import Any

from nbformat.v4 import new_code_cell, new_markdown_cell

PARAMETERS = new_code_cell("x = 0", metadata={"tags": ["parameters"]})


def tagged(source: str, tag: str) -> Any:
    return new_code_cell(source, metadata={"tags": [tag]})


def cells(*sources: Any) -> list[Any]:
    """A notebook's cells: the cell of parameters, and code where only a text is given."""
    return [PARAMETERS, *(new_code_cell(source) if isinstance(source, str) else source for source in sources)]


_AGAIN = "display('first', display_id='a'); display('second', display_id='b')"
_READ = "import time; time.sleep(0.5)"
"""A cell's end does not wait for what was written to file descriptors; that a kernel reads it takes a moment."""
_ERRORS = f"{_READ}\nn = os.system('echo err >&2')\n{_READ}"
"""A thread each reads the two descriptors: of what is written to both at once, either may be first."""
_SHOWS = (
    "class Shows:\n    def _repr_mimebundle_(self, **_):\n"
    "        return {'text/plain': 'plain', 'text/html': '<b>html</b>'}"
)

CORPUS: dict[str, list[Any]] = {
    "results": cells("2 + 2", "'a'\n'b'", "x", "[x] * 3\n(x, 1)", "None", "x;"),
    "text": [
        new_markdown_cell("# Title"),
        new_code_cell("print('above')"),
        *cells("print('one')\nprint('two', end='')", new_markdown_cell("x"), "print(x, end='')\nprint('!')"),
    ],
    "streams": cells(
        "import sys\nprint('out'); print('err', file=sys.stderr); print('again')",
        "print(x); print('err', x, file=sys.stderr); sys.stdout.write('w'); sys.stdout.flush()",
    ),
    "streams that are replaced": cells(
        "import sys\nclass Loud:\n    def __init__(self, to):\n        self.to = to\n    def write(self, text):\n"
        "        return self.to.write(text.upper())\n    def flush(self):\n        self.to.flush()\n"
        "class Knowing(Loud):\n    def __getattr__(self, name):\n        return getattr(self.to, name)\n"
        "sys.stdout, sys.stderr = Loud(sys.stdout), Knowing(sys.stderr)",
        "print('shared'); print('told', file=sys.stderr)",
        "print('point', x); print('told', x, file=sys.stderr)\nn = sys.stderr.to.write('kept')",
    ),
    "file descriptors": cells(
        f"import os\nn = os.write(1, b'raw\\n')\nn = os.system('echo shell')\n{_ERRORS}",
        f"n = os.write(1, b'%d\\n' % x)\nn = os.system('echo shell')\n{_ERRORS}",
    ),
    "mime": cells(
        f"from IPython.display import HTML, Markdown, display, JSON\n{_SHOWS}\nShows()",
        "HTML('<b>1</b>')",
        "display(Markdown('*m*'), JSON({'a': 1}), {'text/custom': 'c'}, raw=False)",
        "display(Shows(), metadata={'isolated': x})",
        "display({'application/vnd.own+json': {'x': x}}, raw=True)",
    ),
    "display updates": cells(
        f"from IPython.display import clear_output, display, update_display\n{_AGAIN}",
        "update_display('third', display_id='a')",
        "update_display(f'fourth {x}', display_id='a'); update_display(f'fifth {x}', display_id='b')",
        "handle = display('six', display_id=True)\nhandle.update(x)",
    ),
    "cleared outputs": cells(
        "from IPython.display import clear_output\nprint(1); clear_output(); print(2)",
        "for i in range(3):\n    clear_output(wait=True)\n    print(i)",
        "print(x); clear_output(wait=True)",
        "for i in range(3):\n    clear_output(wait=True)\n    print(i, x)",
    ),
    "an error": cells("def fail(value):\n    return 1 / value", "print('on')\nfail(x - 7)", "print('never')"),
    "expected errors": cells(
        tagged("1 / 0", "raises-exception"), tagged("raise ValueError(x)", "raises-exception"), "print('on', x)"
    ),
    "an error while shown": cells(
        "class Bad:\n    def __repr__(self):\n        raise RuntimeError('no')",
        tagged("x\nBad()", "raises-exception"),
        "x",
    ),
    "no Python": cells("a = 1", "print(x)\ndef ("),
    "leaving": cells("print('a')", "import sys\nprint(x)\nsys.exit()", "print('never')"),
    "leaving with a code": cells("import sys", "sys.exit(x)", "print('never')"),
    "leaving in another way": cells("a = 1", "print(x)\nraise SystemExit", "print('never')"),
    "skipped": cells(tagged("1 / 0", "skip-execution"), "", "  ", tagged("x / 0", "skip-execution"), "print(x)"),
    "waiting": cells(
        "import asyncio\nawait asyncio.sleep(0.01)\nprint('awaited')",
        "async def later(value):\n    await asyncio.sleep(0.01)\n    return value",
        "await asyncio.gather(later(1), later(x))",
        "task = asyncio.create_task(later(x))",
        "await task",
        "asyncio.get_running_loop() is asyncio.get_event_loop()",
    ),
    "magics": cells(
        "%matplotlib inline\nx0 = 1",
        "%%capture out\nprint(x)",
        "out.stdout",
        "!echo hi $x",
        "lines = !echo {x}; echo b\nlines",
        "%env EMPTY=1\n%precision 3\n1 / 3",
        "%%bash\necho in bash",
        "%%writefile written.txt\ncontent",
    ),
    "asking": cells(tagged("y = input('?')", "raises-exception"), tagged("input(str(x))", "raises-exception")),
    "history": cells(
        "a = 5\na", "print(_, __, In[1:3], Out)", "x\n_i, _ih[1:3], _i2, len(In)", "%history -n 1-3", "%recall 3"
    ),
    "paging": cells("def shown():\n    'Documented.'", "shown?", "%pinfo x\nx"),
    "figures": cells(
        "%matplotlib inline\nimport matplotlib.pyplot as plt",
        "plt.plot([1, 2]); plt.show()",
        "figure, axes = plt.subplots()\naxes.plot([1, x]);",
        "plt.figure(figsize=(2, 2)); plt.title(str(x)); plt.show()\nplt.gcf().number",
    ),
    "frames": cells(
        "from math import *\nimport pandas as pd\nframe = pd.DataFrame({'a': [1, 2], 'b': ['c', 'd']})\nframe",
        "frame.a.sum() + floor(2.5)",
        "frame.query('a < @x')",
        "frame.assign(x=x)",
    ),
    "logging": cells(
        "import logging, sys\nlogging.basicConfig(level='INFO', format='%(levelname)s %(message)s', stream=sys.stdout)",
        "logging.info('one')\nout = sys.stdout",
        "logging.info('two %s', x)\nprint('kept', file=out)",
    ),
    "comms": cells(
        "from comm import create_comm\nc = create_comm(target_name='t', comm_id='c1', data={'state': {'a': 1}})",
        "state = {'_model_name': 'M', '_model_module': 'm'}\n"
        "d = create_comm(target_name='jupyter.widget', comm_id='c2', data={'state': state}, buffers=[b'12'],\n"
        "    metadata={'version': '2.0.0'})",
        "c.send({'x': x}, buffers=[b'34'])\nd.send({'method': 'update', 'state': {'v': x}})",
        "c.close()",
    ),
    "threads that end": cells(
        "import threading\nt = threading.Thread(target=print, args=('in a thread',))\nt.start(); t.join()",
        "t = threading.Thread(target=print, args=('in a thread', x))\nt.start(); t.join()",
    ),
    "processes": cells(
        "import multiprocessing, subprocess\ndef double(n):\n    return 2 * n",
        "subprocess.run(['echo', 'quiet'], capture_output=True).stdout",
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n    print(pool.map(double, [1, x]))",
        f"n = subprocess.run(['echo', 'heard']).returncode\n{_READ}",
    ),
    "processes that print": cells(
        "import multiprocessing, os, sys\ndef show(n):\n    print('of a process', n, 'p' * 200_000)\n"
        "    print('err', n, file=sys.stderr)\ndef run(*ns):\n    for n in ns:\n"
        "        p = multiprocessing.get_context('fork').Process(target=show, args=(n,))\n        p.start(); p.join()",
        "print('first'); run(1)",
        "run(x, x + 1); print('last', x)",
    ),
    "very much": cells(
        "from IPython.display import display, HTML",
        "display(HTML('h' * 3_000_000)); print('t' * 3_000_000)",
        "for n in range(3000):\n    print(n, flush=n % 7 == 0)",
        "for n in range(300):\n    display({'text/plain': f'{x} {n}' * 500}, raw=True)",
        "'r' * 400_000",
    ),
    "seeds": cells(
        "import random\nimport numpy as np\nrandom.seed(3); np.random.seed(4)\ngenerator = np.random.default_rng(5)",
        "random.random(), np.random.rand(), generator.random()",
        "x, random.random(), np.random.rand(), generator.random()",
        "random.gauss(0, 1), np.random.permutation(5), generator.integers(100, size=3)",
    ),
    "files that are read": cells(
        "import pathlib\nn = pathlib.Path('numbers.txt').write_text('1\\n2\\n3\\n4\\n')\nfile = open('numbers.txt')",
        "next(file)",
        "x, next(file)",
        "file.read()",
    ),
    "what ends": cells(
        "import atexit\nn = atexit.register(print, 'at the end')\n"
        "m = atexit.register(lambda: open('over.txt', 'a').write('o'))",
        "import logging.handlers\nlog = logging.getLogger('own')\nlog.addHandler(logging.StreamHandler())\n"
        "log.addHandler(logging.handlers.MemoryHandler(9, target=logging.FileHandler('log.txt', delay=True)))",
        "class Ends:\n    def __del__(self):\n        open('ended.txt', 'a').write('e')\nend = Ends()",
        "x\nlog.warning('said')\nopen('left.txt', 'w').write('left') and None",
        "shown = Ends()\nshown and None\nEnds()",
    ),
    "namespaces": cells(
        "a = [1]\nb = a\ndef grow():\n    a.append(2)",
        "grow(); b",
        "sorted(n for n in dir() if not n.startswith('_'))[:4]",
        "x",
    ),
    "names of files": cells(
        "import os\nname = os.fsdecode(b'caf\\xe9.txt')\nprint(name)",
        "from IPython.display import display\ndisplay({'text/plain': name}, raw=True)\n{'name': name}",
        "print(x, name)\ndisplay({'text/plain': name}, raw=True)\nname",
        "raise OSError(name)",
    ),
    "breakpoints": cells(
        "import sys\nbreakpoint()\nsys.gettrace(), 'debugpy' in sys.modules",
        "x, breakpoint()",
        "import debugpy\nbreakpoint()\ndebugpy.is_client_connected(), sys.gettrace()",
    ),
    "breakpoints of points": cells("1", "x, breakpoint()", "import debugpy\ndebugpy.is_client_connected()"),
    "a connection file": cells(
        "import json\nfrom ipykernel.connect import get_connection_file",
        "x, sorted(json.load(open(get_connection_file())))[:3]",
    ),
    "a module": cells(
        "import sys\n__name__, sys.argv[0], sys.argv[1::2]", "'__file__' in dir()", "x, sys.stdin.read()"
    ),
    "all shared": cells("print('no point')", "1 + 1"),
    "nothing shared": [new_code_cell("%who_ls str"), *cells("x")],
}
