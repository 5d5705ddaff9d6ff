"""Which code a module depends on: the closure of its imports, read from the source, nothing imported.

Three things rest on it: the code deps in dvc.yaml (`python -m stages deps`), the fingerprint of unfinished
work (`wm.runtime.scratch`) and the check that remote workers run the same code (`wm.runtime.workers`).
"""

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("stages", "wm")
PARAMS_MODEL = "wm.params.model"
READERS = {PARAMS_MODEL, "wm.params.check", "wm.params.file"}  # read params.yaml; see `stage_modules`
DYNAMIC, LITERAL_ONLY = ("import_module", "__import__"), ("run_module", "run_path", "spec_from_file_location")


class ModuleSource(NamedTuple):
    """A module of the project as source code."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def is_package(self) -> bool:
        """Whether it is the __init__ of a package."""
        return self.path.name == "__init__.py"

    @property
    def has_code(self) -> bool:
        """Whether the module holds more than a docstring."""
        return not all(
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in self.tree.body
        )

    @property
    def runs_code(self) -> bool:
        """Whether an import of the module runs code of the project, and does not just define functions."""
        return not all(map(_is_inert, self.tree.body))


def _is_inert(node: ast.stmt) -> bool:
    """Whether a statement of a module runs no code of the project when the module is imported."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.FunctionDef(decorator_list=[]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.ImportFrom(module=str(name), level=0):
            return name.split(".")[0] not in PACKAGES
    return False


def project(root: Path = ROOT) -> list[str]:
    """All modules of the project by name, sorted."""
    paths = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    parts = [path.relative_to(root).with_suffix("").parts for path in paths]
    return sorted(".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts)


def path_of(name: str, root: Path = ROOT) -> Path | None:
    """The file of a module or of a package's __init__; None if the project has no such module."""
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def digest(names: Iterable[str], root: Path = ROOT) -> str:
    """SHA-256 over the names and contents of modules, in hexadecimal."""
    content = hashlib.sha256()
    for name in sorted(names):
        path = path_of(name, root)
        content.update(f"{name}\n{hashlib.sha256(path.read_bytes() if path else b'').hexdigest()}\n".encode())
    return content.hexdigest()


@cache
def source(name: str, root: Path = ROOT) -> ModuleSource:
    """The module's source. Raises ModuleNotFoundError."""
    path = path_of(name, root)
    if path is None:
        raise ModuleNotFoundError(f"{name}: not found in {root}")
    return ModuleSource(name, path, ast.parse(path.read_bytes(), str(path)))


@cache
def imports(name: str, root: Path = ROOT) -> frozenset[str]:
    """The project's modules that a module imports itself, at any depth of its code, dynamic imports included.

    A package's __init__ counts only if it holds code, and with an import of one of the package's modules
    only if it runs code: wm/__init__.py imports nothing before `wm.load_agent` is used. Raises ValueError for
    a dynamic import that cannot be read from the source, ModuleNotFoundError for an import of a module that
    the project does not have.
    """
    module = source(name, root)
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module.package, "." * node.level + (node.module or ""))
            members = (f"{base}.{alias.name}" for alias in node.names)
            names.update(member if path_of(member, root) else base for member in members)
    names.update(_dynamic(module, root))
    ours = {target for target in names if target.split(".")[0] in PACKAGES}
    modules = {target: source(target, root) for target in ours}
    ours = {target for target in ours if modules[target].has_code or not modules[target].is_package}
    parents = {target.rsplit(".", i)[0] for target in ours for i in range(target.count(".") + 1)} - ours
    return frozenset((ours | {parent for parent in parents if source(parent, root).runs_code}) - {name})


def _absolute(package: str, name: str) -> str:
    """The absolute name of a possibly relative one, such as `..models.rnn`."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], name[level:]]).rstrip(".")


def _dynamic(module: ModuleSource, root: Path) -> Iterator[str]:
    """The modules that `import_module` and `__import__` may load."""
    names = set(_aliases(module.tree, DYNAMIC)) | {"__import__"}
    calls = {id(node.func): node for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(module.tree):
        word = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if word in LITERAL_ONLY:
            raise _refusal(module, node, word)
        if not (word in names if isinstance(node, ast.Name) else word in DYNAMIC):
            continue
        if (call := calls.get(id(node))) is None or not call.args:
            raise _refusal(module, node, word)
        yield from _possible(module, call, word, root)


def _aliases(tree: ast.Module, functions: tuple[str, ...]) -> Iterator[str]:
    """The names by which a module calls what it imports from importlib."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "importlib":
            yield from (alias.asname or alias.name for alias in node.names if alias.name in functions)


def _possible(module: ModuleSource, call: ast.Call, word: str, root: Path) -> Iterator[str]:
    """The modules that one dynamic import may load: one for a literal, all that match for an f-string."""
    argument = call.args[0]
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield _absolute(module.package, argument.value)
        return
    if not (
        isinstance(argument, ast.JoinedStr)
        and argument.values
        and isinstance(argument.values[0], ast.Constant)
    ):
        raise _refusal(module, call, word)
    start, end = _absolute(module.package, str(argument.values[0].value)), argument.values[-1]
    top, dot, _ = start.partition(".")
    if top in PACKAGES:
        ending = str(end.value) if isinstance(end, ast.Constant) and end is not argument.values[0] else ""
        loaded = [name for name in project(root) if name.startswith(start) and name.endswith(ending)]
        yield from (name for name in loaded if not name.endswith("__main__"))
    elif not dot:  # the rest of the name decides which package it is
        raise _refusal(module, call, word)


def _refusal(module: ModuleSource, node: ast.AST, word: str) -> ValueError:
    place = f"{module.path}, line {getattr(node, 'lineno', '?')}"
    return ValueError(
        f"{place}: found {word} with a name that only the running program knows, expected a literal or an "
        "f-string that begins with the package"
    )


def closure(
    name: str, root: Path = ROOT, imported: Callable[[str, Path], Iterable[str]] = imports
) -> set[str]:
    """The module and all modules of the project that it imports, directly or not."""
    reached, left = set(), {name}
    while left:
        reached |= left
        left = {target for module in left for target in imported(module, root)} - reached
    return reached


def stage_modules(stage: str, root: Path = ROOT) -> set[str]:
    """The modules that can change a stage's outputs.

    These are the stage's own module and its imports, with two exceptions:

    - The modules that read params.yaml import the models of all sections. DVC compares the values themselves
      (`params:` in dvc.yaml), so a stage depends only on the models of the sections that it reads. Otherwise
      an edit of `rank`'s section would train the VAE again.
    - The runner, stages/__main__.py, and what it imports. It checks params.yaml, sets up the process (caches,
      memory, signals) and calls the stage. None of that changes a number in an output.
    """
    name = f"stages.{stage}"
    sections = {f"wm.params.{section}" for section in sections_read(stage, root)}

    def imported(module: str, root: Path) -> set[str]:
        return (set(imports(module, root)) | (sections if module == name else set())) - READERS

    return closure(name, root, imported)


def sections_read(stage: str, root: Path = ROOT) -> set[str]:
    """The sections of params.yaml that can change a stage's outputs: those that its module reads as
    `params.<section>`, or through a method of the params, except those that say where to compute.

    Raises ValueError if the module passes all params on, which hides what is read.
    """
    module = source(f"stages.{stage}", root)
    fields, methods, machine = _params_model(source(PARAMS_MODEL, root))
    functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef)]
    local = {function.name for function in functions}
    read: set[str] = set()
    for function in functions:
        for argument in function.args.args:
            if isinstance(argument.annotation, ast.Name) and argument.annotation.id == "Params":
                for attribute in _attributes_read(module, function, argument.arg, local):
                    read |= {attribute} if attribute in fields else methods.get(attribute, fields)
    return read - machine


def _attributes_read(
    module: ModuleSource, function: ast.FunctionDef, name: str, local: set[str]
) -> Iterator[str]:
    """What the function reads of its argument `name`, which it may pass to functions of its module only."""
    attributes = {id(node.value): node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    passed = {id(value) for call in calls if getattr(call.func, "id", "") in local for value in call.args}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id == name and id(node) not in passed:
            if id(node) not in attributes:
                place = f"{module.path}, line {node.lineno}"
                raise ValueError(f"{place}: passes all params on, expected single sections")
            yield attributes[id(node)]


def _params_model(model: ModuleSource) -> tuple[set[str], dict[str, set[str]], set[str]]:
    """The sections, the sections that each method reads, and those that say where to compute."""
    body = next(
        node.body for node in model.tree.body if isinstance(node, ast.ClassDef) and node.name == "Params"
    )
    fields = {
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    methods = {
        node.name: {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)} & fields
        for node in body
        if isinstance(node, ast.FunctionDef)
    }
    machine = next(
        ast.literal_eval(node.value)
        for node in model.tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "MACHINE_SECTIONS"
    )
    return fields, methods, set(machine)
