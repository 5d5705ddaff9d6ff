"""All devices at once, of this machine or of several: the leading axis of what is computed on is split.

With `hosts.launcher` a stage that trains starts anew under it, a process on each machine, which
`jax.distributed` joins: the same computation with more devices. The first process alone writes.
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
from wm.params.hosts import Hosts

Tree = TypeVar("Tree")

LAUNCHED = "WM_LAUNCHED"  # in the environment of the processes that the launcher started
WRITTEN = ("models", "metrics")  # where stages that train write


def join(hosts: Hosts) -> None:
    """Makes this process one of those that `hosts.launcher` starts; nothing where it is empty.

    All but the first then write into folders of their own, which go when they end. Before anything is
    computed. Raises BadInput where the launcher does not tell the processes of each other.
    """
    launcher = hosts.launcher
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
        raise BadInput(f"{place}, wanted srun or mpirun, which JAX knows ({error})") from None
    if jax.process_index() > 0:
        _write_elsewhere()


def _write_elsewhere() -> None:
    """Moves to a folder in which all can be read that can be read here, and says no more."""
    project, folder = Path.cwd(), Path(tempfile.mkdtemp(prefix="wm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in project.iterdir():
        if path.name not in WRITTEN:
            (folder / path.name).symlink_to(path)
    for name in WRITTEN:
        if (project / name).exists():
            shutil.copytree(project / name, folder / name, copy_function=os.symlink)
    os.chdir(folder)
    os.environ["DVC_ROOT"] = str(folder / "own")  # whose scratch folder is its own
    sys.stdout = io.StringIO()


def share(folder: Path) -> None:
    """Has all processes find in the folder what the first one has there: unfinished work goes on alike."""
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


def split(tree: Tree) -> Tree:
    """The arrays with their leading axis shared out over the devices, for a jitted function to go on from.

    Where the axis is no multiple of their number the arrays go to each device whole. The results are
    the same but for the order of sums; on one device nothing is done.
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
        if whole:  # what machines reckon for themselves is the same but for rounding
            leaf = multihost_utils.broadcast_one_to_all(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(place, tree)


def padded(length: int) -> int:
    """The least length that is not below and that `split` shares out evenly."""
    count = jax.device_count()
    return -(-length // count) * count


def whole(array: jax.Array) -> np.ndarray:
    """All of an array, whatever part of it is on this machine's devices."""
    here = array.is_fully_addressable or array.is_fully_replicated
    return np.asarray(array if here else multihost_utils.process_allgather(array, tiled=True))
