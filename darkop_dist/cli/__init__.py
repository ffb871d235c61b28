"""The command ``darkop``: thin commands that parse, call one stage and say where the result is.

Exit status: 0 done, 1 a failure of the run, 2 a mistake of the user. Errors go to standard error.
"""

from darkop_dist.cli.app import main

__all__ = ["main"]
