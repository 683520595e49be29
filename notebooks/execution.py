"""The execution: a notebook run top to bottom in a kernel of its own, or where it stopped, and why."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from demo.errors import DemoError

LOG_FILE = "kernel.log"
CELL_SECONDS = 900  # the longest that a cell may take

Report = Callable[[str, float], None]


class NotebookError(DemoError):
    """A cell failed; the notebook has the outputs up to there."""


def execute(notebook: NotebookNode, folder: Path, private: Path, report: Report) -> None:
    """Execute all cells, in ``folder``, and keep their outputs in ``notebook``.

    ``private`` is for the files and the log of the kernel, which inherits the environment but none of
    the user's own settings of Jupyter and IPython. ``report`` gets each heading that it comes to, and
    the share of the cells before it. Raises :class:`NotebookError`; the kernel is gone in any case.
    """
    private.mkdir(parents=True, exist_ok=True)
    with _apart(private), (private / LOG_FILE).open("wb") as log:
        # Without folders of kernels there is one, of this very Python.
        specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=specs,
            transport="ipc",  # nothing listens on a port
            ip=str(private / "socket"),
        )
        client = NotebookClient(
            notebook, manager, timeout=CELL_SECONDS, record_timing=False, store_widget_state=False
        )
        client.owns_km = True  # so that it ends the kernel
        with client.setup_kernel(cwd=str(folder), stdout=log, stderr=log):
            _cells(client, report)


def _cells(client: NotebookClient, report: Report) -> None:
    cells = client.nb.cells
    heading = ""
    for number, cell in enumerate(cells):
        heading = heading_of(cell) or heading
        report(heading, number / len(cells))
        try:
            client.execute_cell(cell, number, execution_count=client.code_cells_executed + 1)
        except CellExecutionError as error:
            raise NotebookError(f"under {heading!r}: {_cause(error)}") from error
        except CellTimeoutError as error:
            raise NotebookError(
                f"under {heading!r}: a cell took longer than {CELL_SECONDS} s"
            ) from error
        except DeadKernelError as error:
            raise NotebookError(
                f"under {heading!r}: the notebook's process was killed (by the out-of-memory killer?)"
            ) from error


def heading_of(cell: NotebookNode) -> str:
    """The first heading in a cell of text; empty if there is none."""
    found = re.search(r"^#+ +(.+)$", cell.source, re.MULTILINE)
    return found[1].strip() if cell.cell_type == "markdown" and found else ""


def _cause(error: CellExecutionError) -> str:
    value = error.evalue.strip()
    if error.ename == "NotReadyError":
        return value
    first = value.partition("\n")[0]
    return f"{error.ename}: {first}" if first else error.ename


@contextmanager
def _apart(private: Path) -> Iterator[None]:
    """The variables that tell Jupyter and IPython where their files are."""
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: str(private / name.lower()) for name in names})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
