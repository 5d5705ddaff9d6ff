"""The comparison of dream and reality by round, and the report: `python -m stages report`."""

from wm.params.model import MACHINE_SECTIONS, Params
from wm.report import summary
from wm.report.content import read
from wm.report.page import page
from wm.runtime import files
from wm.runtime.places import METRICS


def main(params: Params) -> None:
    content = read(list(params.rounds), params.model_dump(exclude=set(MACHINE_SECTIONS)))
    document = page(content)
    summary.write_metrics(content)
    files.write_bytes(METRICS / "report.html", document.encode())
