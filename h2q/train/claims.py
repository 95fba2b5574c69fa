"""Claims on a file or folder (fcntl.flock): one process holds it at a time; a killed one holds nothing. Torch-free."""

import fcntl
import os
from pathlib import Path


def claimed(descriptor: int) -> bool:
    """Whether what is open is ours now; where the disk knows no such claims (folders of a network disk), it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def held(path: Path) -> bool:
    """Whether another process holds a claim on it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
