"""The file under an HDF5 file that is being written: a full disk must end in an error, not in a crash.

HDF5 keeps data back and writes it when a file is closed. If that fails it cannot close the file, and the process may be torn down
later. So a failed write is remembered, HDF5 is served from memory until it has closed, and the error is raised then.
"""

from __future__ import annotations

import io
from pathlib import Path


class Output(io.RawIOBase):
    """A binary file whose writes never fail towards HDF5.

    Args:
        path: the file to create.

    Attributes:
        error: the first error of the system; None while all is well.

    Raises:
        OSError: the file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._position = 0
        self._spilled: list[tuple[int, bytes]] = []
        self.error: OSError | None = None

    def raise_error(self) -> None:
        """Raise the remembered error.

        Raises:
            OSError: a write has failed.
        """
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an absolute position, or to the end."""
        self._position = offset if whence == io.SEEK_SET else self._size() + offset
        return self._position

    def tell(self) -> int:
        """The present position."""
        return self._position

    def write(self, data: object) -> int:
        """Write all of ``data``, to memory once the system has refused."""
        block = memoryview(data).cast("B")  # type: ignore[arg-type]
        start = self._position
        self._position += len(block)
        if self.error is None:
            try:
                self._file.seek(start)
                written = 0
                while written < len(block):
                    written += self._file.write(block[written:])
                return len(block)
            except OSError as error:
                self.error = error
        self._spilled.append((start, bytes(block)))
        return len(block)

    def readinto(self, buffer: object) -> int:
        """Fill ``buffer``; what was never written reads as zero."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        start, size = self._position, len(target)
        self._file.seek(start)
        data = bytearray(size)
        done = 0
        while done < size and (block := self._file.read(size - done)):
            data[done : done + len(block)] = block
            done += len(block)
        for offset, block in self._spilled:
            low, high = max(offset, start), min(offset + len(block), start + size)
            if low < high:
                data[low - start : high - start] = block[low - offset : high - offset]
        target[:] = data
        self._position += size
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        length = self._position if size is None else size
        if self.error is None:
            try:
                self._file.truncate(length)
            except OSError as error:
                self.error = error
        return length

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _size(self) -> int:
        ends = [offset + len(block) for offset, block in self._spilled]
        return max([self._file.seek(0, io.SEEK_END), *ends])
