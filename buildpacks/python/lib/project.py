"""Answers the buildpack's questions about the project; runs with pip on the path, for what pip vendors.

Usage: project.py QUESTION [ARGUMENT...]   (in the app's folder)
"""

import importlib.metadata
import pathlib
import re
import sys

from pip._vendor.packaging.specifiers import SpecifierSet
from pip._vendor.packaging.utils import canonicalize_name

try:
    import tomllib
except ModuleNotFoundError:
    from pip._vendor import tomli as tomllib


def project():
    path = pathlib.Path("pyproject.toml")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except tomllib.TOMLDecodeError as error:
        sys.exit(f"pyproject.toml: {error}")


def requires_python():
    print(project().get("project", {}).get("requires-python", ""))


def accepts(spec, version):
    sys.exit(0 if SpecifierSet(spec).contains(version) else 1)


def has_build_system():
    sys.exit(0 if "build-system" in project() or pathlib.Path("setup.py").exists() else 1)


def dependencies():
    print("\n".join(project().get("project", {}).get("dependencies", [])))


def complete(requirements, site_packages):
    """Whether the file names every installed package with its version, so that it is a lockfile."""
    text = pathlib.Path(requirements).read_text(encoding="utf-8").replace("\\\n", " ")
    pinned = set()
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line or line.startswith(("--index-url", "--extra-index-url", "--no-binary", "--only-binary")):
            continue
        match = re.match(r"([A-Za-z0-9._-]+)\s*(\[[^]]*\])?\s*===?\s*[A-Za-z0-9.!+_-]+(\s|;|$)", line)
        if not match:
            sys.exit(1)
        pinned.add(canonicalize_name(match.group(1)))
    found = importlib.metadata.distributions(path=[site_packages])
    sys.exit(0 if {canonicalize_name(one.metadata["Name"]) for one in found} <= pinned else 1)


{
    "requires-python": requires_python,
    "accepts": accepts,
    "has-build-system": has_build_system,
    "dependencies": dependencies,
    "complete": complete,
}[sys.argv[1]](*sys.argv[2:])
