"""Computation on all devices, of one machine or several: arrays are sharded along their leading axis.

With `hosts.launcher` a training stage restarts itself under the launcher, one process per machine, and
`jax.distributed` connects the processes. Only the first process writes outputs.
"""

import atexit
import io
import os
import shlex
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wm import errors
from wm.errors import BadInput
from wm.params.file import PARAMS
from wm.runtime import interrupt, startup

Tree = TypeVar("Tree")

LAUNCHED = "WM_LAUNCHED"  # set in the environment of the processes that the launcher starts
WRITTEN = ("models", "metrics")  # folders that training stages write to


def join(launcher: str) -> None:
    """Makes this process one of those that `hosts.launcher` starts; does nothing if it is empty.

    Call it before JAX computes anything. All processes but the first write to temporary folders. Raises
    BadInput if JAX does not recognise the launcher.
    """
    if not launcher:
        return
    if LAUNCHED not in os.environ:
        os.environ[LAUNCHED] = "1"
        command = [*shlex.split(launcher), sys.executable, *sys.orig_argv[1:]]
        os.execvp(command[0], command)
    try:
        jax.distributed.initialize()
    except ValueError as error:
        place = f"{PARAMS}: hosts.launcher: found {errors.shown(launcher)}"
        raise BadInput(f"{place}, expected srun or mpirun, which JAX recognises ({error})") from None
    interrupt.install()  # again, since jax.distributed takes SIGTERM for itself
    startup.check_jax()
    if jax.process_index() > 0:
        _write_elsewhere()


def _write_elsewhere() -> None:
    """Changes to a temporary folder with links to all files of the project, and silences standard output."""
    project, folder = Path.cwd(), Path(tempfile.mkdtemp(prefix="wm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in project.iterdir():
        if path.name not in WRITTEN:
            (folder / path.name).symlink_to(path)
    for name in WRITTEN:
        if (project / name).exists():
            shutil.copytree(project / name, folder / name, copy_function=os.symlink)
    os.chdir(folder)
    os.environ["DVC_ROOT"] = str(folder / "own")  # for a scratch folder of its own
    sys.stdout = io.StringIO()


def share(folder: Path) -> None:
    """Copies the first process's folder to all processes, so that all resume the same unfinished work."""
    if jax.process_count() == 1:
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(folder, arcname=".")
    size = int(multihost_utils.broadcast_one_to_all(np.int32(packed.tell())))
    sent = (
        np.frombuffer(packed.getvalue(), np.uint8) if jax.process_index() == 0 else np.zeros(size, np.uint8)
    )
    content = np.asarray(multihost_utils.broadcast_one_to_all(sent)).tobytes()
    if jax.process_index() > 0:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(folder, filter="data")


def precision(asked: str) -> str:
    """The precision of matrix products: as asked, but float32 on an x86 CPU without AVX-512, which converts
    bfloat16 and so takes half as long again. Several machines must agree and multiply as asked."""
    flags = startup.processor_flags().split() if jax.default_backend() == "cpu" else []
    slow = "avx" in flags and "avx512f" not in flags and jax.process_count() == 1
    return "float32" if slow else asked


def split(tree: Tree) -> Tree:
    """The arrays, sharded along their leading axis over all devices.

    An array whose axis is not a multiple of the number of devices is replicated. Results differ only by
    the order of sums. On one device the arrays are returned as they are.
    """
    count = jax.device_count()
    if count == 1:
        return tree
    mesh = Mesh(np.array(jax.devices()), ("device",))

    def place(leaf: jax.Array | np.ndarray) -> jax.Array:
        whole = leaf.ndim == 0 or leaf.shape[0] % count
        sharding = NamedSharding(mesh, PartitionSpec() if whole else PartitionSpec("device"))
        if jax.process_count() == 1:
            return jax.device_put(leaf, sharding)
        if whole:  # the copies that the machines computed differ by rounding
            leaf = multihost_utils.broadcast_one_to_all(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(place, tree)


def padded(length: int) -> int:
    """The smallest length of at least `length` that `split` shards evenly."""
    count = jax.device_count()
    return -(-length // count) * count


def whole(array: jax.Array) -> np.ndarray:
    """The complete array, also if part of it is on other machines' devices."""
    here = array.is_fully_addressable or array.is_fully_replicated
    return np.asarray(array if here else multihost_utils.process_allgather(array, tiled=True))
