# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Running a Python program in this process as the interpreter would: its names, its tracebacks, its exit code."""

import io
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, TracebackType

_OURS = (str(Path(__file__).resolve().parent), runpy.__file__, "<frozen runpy>")


def run_program(
    program: str,
    arguments: Sequence[str],
    *,
    is_module: bool,
    at_end: Callable[[BaseException | None], None],
) -> int:
    """Runs a script's file, or a module as `python -m` does, as __main__.

    Args:
        at_end: called when the program has ended, however it did, with what it raised, SystemExit aside.

    Returns:
        The exit code of a program that ends with an exception, whose traceback is then printed, or
        by itself.

    Raises:
        SystemExit: the program's own.
        KeyboardInterrupt: the program's own, already printed.
    """
    raised: BaseException | None = None
    try:
        if is_module:
            _run_module(program, arguments)
        else:
            _run_script(program, arguments)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 (whatever it is, the interpreter would print it)
        raised = error
        return _print_as_interpreter(error)
    finally:
        at_end(raised)
    return 0


def _run_script(path: str, arguments: Sequence[str]) -> None:
    with io.open_code(os.path.abspath(path)) as file:  # noqa: PTH100 (links stay in the path, as in Python's)
        code = compile(file.read(), path, "exec")
    sys.argv = [path, *arguments]
    sys.path[0] = str(Path(path).resolve().parent)
    main = ModuleType("__main__")
    vars(main).update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    exec(code, vars(main))


def _run_module(name: str, arguments: Sequence[str]) -> None:
    sys.argv = [name, *arguments]  # runpy puts the file's path in the first place
    sys.path[0] = str(Path.cwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _print_as_interpreter(error: BaseException) -> int:
    """Prints the traceback from the program's own first line on. Ctrl-C goes on to end the interpreter."""
    traceback = _without_ours(error.__traceback__)
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
    if not isinstance(error, KeyboardInterrupt):
        return 1
    # Python ends by the signal when all that is registered for its end has run, such as stopping a machine.
    sys.excepthook = lambda *_: None
    raise error


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OURS):
        traceback = traceback.tb_next
    return traceback
