"""Which files a model may name: those of its own folder, and of folders that the user named.

A mesh file from elsewhere is not trusted to say what is read: absolute paths, ``..`` and links that lead out of these folders are
refused. Names are taken as people write them: with backslashes, quoted, with ``%20``, with ``package://`` and ``file://``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from srcli.errors import ArtifactError, ConfigError

MOST_BYTES = 100_000_000
"""Of one file."""


@dataclass(frozen=True, slots=True)
class Places:
    """Folders that the user named.

    Attributes:
        folder: files may lie anywhere below it; empty: the model's own folder.
        textures: textures and material libraries that the model's folder lacks are looked for here, below any folder.
        packages: (name, folder) of each ``package://name``.
    """

    folder: str = ""
    textures: str = ""
    packages: tuple[tuple[str, str], ...] = ()

    def check(self) -> None:
        """Refuse folders that are not there.

        Raises:
            ConfigError: names the option.
        """
        named = [("--folder", self.folder), ("--textures", self.textures)]
        for option, folder in (*named, *((f"--package {name}", folder) for name, folder in self.packages)):
            if folder and not Path(folder).is_dir():
                raise ConfigError(f"{option}: {folder} is no folder", "give a folder that exists")


def packages_of(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """``NAME=FOLDER`` of the command line as (name, folder).

    Raises:
        ConfigError: one is not of this form.
    """
    found = []
    for text in texts:
        name, mark, folder = text.partition("=")
        if not (name.strip() and mark and folder.strip()):
            raise ConfigError(f"--package '{text}': is not NAME=FOLDER", "as in --package my_robot=/home/me/my_robot")
        found.append((name.strip(), folder.strip()))
    return tuple(found)


@dataclass
class Files:
    """The files that one model names.

    Attributes:
        model: the file that was given.
        places: folders that the user named.
        read: all files that were found, the model first.
        notes: what the user should know.
    """

    model: Path
    places: Places = field(default_factory=Places)
    read: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The folder that files may lie below."""
        return Path(self.places.folder) if self.places.folder else self.model.parent

    def mesh(self, name: str, base: Path) -> Path:
        """The mesh (or included file) of a name, relative to ``base``.

        Raises:
            ArtifactError: it is missing, lies outside of the folders that may be read, or is no regular file.
        """
        outside = False
        for path in self._candidates(name, base):
            if not self._allowed(path):
                outside = True
            elif is_file(path):
                return self.take(path)
        shown = short(name)
        if outside:
            raise ArtifactError(
                f"{self.model}: names {shown}, outside of its folder {self.root}: not read",
                "copy it there, or name the folder that may be read: --folder FOLDER" + self._package_hint(name),
            )
        looked = next(iter(self._candidates(name, base)), base)
        raise ArtifactError(
            f"{self.model}: the mesh {PurePosixPath(plain(name)).name or shown} is missing (looked at {looked})",
            (self._package_hint(name) or "put the mesh beside its URDF").removeprefix(", or "),
        )

    def optional(self, name: str, base: Path, what: str) -> Path | None:
        """The texture or material library of a name; None, with a note, where it is not to be had.

        Raises:
            ArtifactError: a material library is named by a path that leads out of the folders that may be read.
        """
        outside = False
        for path in self._candidates(name, base):
            if not self._allowed(path):
                outside = True
            elif is_file(path):
                return self.take(path)
        found = self._beside(name, base)
        if found is not None:
            return self.take(found)
        why = f"lies outside of {self.root}: not read" if outside else "is not there"
        hint = "--textures FOLDER names a folder to look in"
        if outside and what == "material library" and not re.match(r"[A-Za-z]:", name):
            raise ArtifactError(f"{self.model}: names the {what} {short(name)}, outside of its folder: not read", hint)
        self.note(f"the {what} {short(name)} {why}; {hint}")
        return None

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def take(self, path: Path) -> Path:
        """Record a file as read.

        Raises:
            ArtifactError: it is huge.
        """
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ArtifactError(f"{path}: has {size / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f} MB", "simplify the mesh")
        if path not in self.read:
            self.read.append(path)
        return path

    def _candidates(self, name: str, base: Path) -> Iterator[Path]:
        """Where a name may lie, likeliest first."""
        text = name.strip().strip("\"'")
        scheme = re.match(r"([a-z]+)://", text, re.IGNORECASE)
        if scheme is None:
            for spelled in dict.fromkeys((text, plain(text), unquote(plain(text)))):
                yield base / spelled
            return
        rest = unquote(plain(text[scheme.end() :]))
        if scheme.group(1).lower() in ("package", "model"):
            package, _, below = rest.partition("/")
            known = dict(self.places.packages)
            if package in known:
                yield Path(known[package]) / below
                return
            yield base / rest
            # A model that was taken out of its package with its meshes beside it.
            if below and package != "..":
                yield base / below
        elif scheme.group(1).lower() == "file":
            yield base / rest
        else:
            raise ArtifactError(f"{self.model}: names {short(text)}: only files are read", "fetch it, and name the file")

    def _allowed(self, path: Path) -> bool:
        roots = [self.root, self.model.parent, *([Path(self.places.textures)] if self.places.textures else [])]
        roots += [Path(folder) for _, folder in self.places.packages]
        try:
            # Symbolic links count as what they lead to.
            whole = path.resolve()
        except (OSError, RuntimeError, ValueError):
            return False
        return any(whole.is_relative_to(root.resolve()) for root in roots)

    def _beside(self, name: str, base: Path) -> Path | None:
        """A file of the same last name: in the folder of textures, at any depth, or beside the model."""
        last = PurePosixPath(unquote(plain(name))).name
        if not last or last in (".", ".."):
            return None
        if self.places.textures:
            folder = Path(self.places.textures)
            below = PurePosixPath(*[part for part in PurePosixPath(plain(name)).parts if part not in ("/", "..", ".")])
            for start in range(len(below.parts)):
                path = folder.joinpath(*below.parts[start:])
                if is_file(path) and self._allowed(path):
                    return path
            deeper = sorted(path for path in folder.rglob(glob_escape(last)) if is_file(path) and self._allowed(path))
            if deeper:
                return deeper[0]
        path = base / last
        return path if is_file(path) and self._allowed(path) else None

    def _package_hint(self, name: str) -> str:
        match = re.match(r"\s*(?:package|model)://([^/\\]+)", name)
        if match is None or match.group(1) == "..":
            return ""
        package = match.group(1)
        folder = next((str(parent) for parent in self.model.resolve().parents if parent.name == package), "FOLDER")
        return f", or say where the package lies: --package {package}={folder}"


def plain(name: str) -> str:
    """Backslashes as slashes."""
    return name.replace("\\", "/")


def glob_escape(name: str) -> str:
    """A name that stands for itself in a pattern."""
    return re.sub(r"([*?[])", r"[\1]", name)


def short(name: str) -> str:
    """A name from a file, fit for one line of a message."""
    text = "".join(c if c.isprintable() else "?" for c in name.strip())
    return f"'{text}'" if len(text) <= 60 else f"'{text[:28]}...{text[-28:]}'"


def is_file(path: Path) -> bool:
    """Whether a path leads to a regular file; not where no file can have such a name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
