"""A subsection of `collect` for recorded drives, which the stage `import_drives` reads."""

from pydantic import Field

from wm.params.collect import Collect


class ImportDrives(Collect):
    """Recorded drives: the first `episodes` by name; their tracks are numbered from `seed` on."""

    path: str = Field(pattern=r"^[\w./][\w./-]*$")
    """folder of .npz files, one per drive, or of a Minari dataset"""
