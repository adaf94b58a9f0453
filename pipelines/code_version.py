"""Version of the code that a step runs, part of its cache key.

KFP keys its cache on the arguments and the image name of a step, but not on the code that the step imports.

The version of a step covers its import closure: every module of textgate that its component imports, directly or not,
inside functions too. It is derived from the sources, so no table has to be maintained. Comments, docstrings
and formatting are not part of it: a source is hashed as its syntax tree.

Two kinds of imports are resolved instead of followed:
- a name imported from a package is traced through the package's ``__init__`` to the module that defines it, so a step
  depends on the contracts it uses and not on all of them;
- the registry of model families imports each family on demand; only the families that a run uses are in its closure.
"""

import ast
import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import textgate.components
from textgate.components.families.registry import FAMILIES

_PACKAGE = "textgate"
_ROOT = Path(next(iter(textgate.components.__path__))).parent
_REGISTRY = "textgate.components.families.registry"
_DATA_SUFFIXES = {".css", ".html", ".js", ".txt"}
"""Suffixes of data files in the package of a module, which the module may read."""
_LIBRARIES = (
    "accelerate",
    "bitsandbytes",
    "charset-normalizer",
    "cleanlab",
    "datasets",
    "gensim",
    "numpy",
    "onnx",
    "onnxruntime",
    "peft",
    "py3langid",
    "pyarrow",
    "regex",
    "rensa",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def code_version(module: str, families: Collection[str] = ()) -> str:
    """Return the sha256 of the code that ``module`` runs and of the library versions its result depends on.

    Args:
        module: Dotted name of the module, such as ``textgate.components.train.component``.
        families: Names of the model families that the run uses.
    """
    digest = hashlib.sha256()
    for source in sorted(_files(import_closure(module, families))):
        digest.update(f"{source.relative_to(_ROOT)}\0{_content_hash(source)}\0".encode())
    digest.update(_library_versions().encode())
    return digest.hexdigest()


@cache
def _library_versions() -> str:
    versions = ""
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            versions += f"{library}=={version(library)}\0"
    return versions


def step_module(step: str) -> str:
    """Return the module that holds the KFP component of ``step``."""
    return f"{_PACKAGE}.components.{step}.component"


def import_closure(module: str, families: Collection[str] = ()) -> frozenset[str]:
    """Return the dotted names of ``module`` and of all textgate modules that it imports, directly or not.

    Args:
        module: See ``code_version``.
        families: Families whose loaders are followed where the closure holds the registry of families.
    """
    unused = frozenset(loader.__name__ for loader in FAMILIES.values()) - {FAMILIES[name].__name__ for name in families}
    pending, closure = [module], set[str]()
    while pending:
        name = pending.pop()
        if name not in closure:
            closure.add(name)
            pending += _imports_of(name, unused if name == _REGISTRY else frozenset())
    return frozenset(closure)


@cache
def _imports_of(module: str, skipped: frozenset[str]) -> tuple[str, ...]:
    """Return the modules of textgate that ``module`` imports outside the functions named ``skipped``."""
    tree = _parse(_source(module))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name in skipped)]
    return tuple(_imported(tree))


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules of textgate that ``tree`` imports; imports for the type checker alone are skipped."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.startswith(f"{_PACKAGE}."))
            case ast.ImportFrom(module=str(package), names=names) if package.split(".")[0] == _PACKAGE:
                yield from (_defining_module(package, alias.name) for alias in names)
            case _:
                yield from _imported(node)


@cache
def _defining_module(package: str, name: str) -> str:
    """Return the module that ``from package import name`` reaches, traced through re-exports."""
    if _exists(f"{package}.{name}"):
        return f"{package}.{name}"
    for node in _parse(_source(package)).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == _PACKAGE:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _defining_module(node.module, alias.name)
    return package


def _path(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")[1:])


def _exists(module: str) -> bool:
    return _path(module).with_suffix(".py").exists() or (_path(module) / "__init__.py").exists()


def _source(module: str) -> Path:
    path = _path(module)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _files(modules: Collection[str]) -> set[Path]:
    """Return the sources of ``modules``, and the data files of the packages they are in."""
    sources = {_source(module) for module in modules}
    packages = {source.parent for source in sources}
    data = (path for package in packages for path in package.rglob("*") if path.suffix in _DATA_SUFFIXES)
    return sources | {path for path in data if _package_folder(path) in packages}


def _package_folder(path: Path) -> Path:
    return next(folder for folder in path.parents if (folder / "__init__.py").exists())


@cache
def _content_hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".py":
        content = ast.dump(_without_docstrings(_parse(path))).encode()
    return hashlib.sha256(content).hexdigest()


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove the string statements of ``tree``, which change no result."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kept = [
                child
                for child in node.body
                if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
            ]
            node.body = kept or [ast.Pass()]
    return tree
