"""Format of the examples at the end of every ``--help``, and the exit codes."""

EXIT_CODES = """\b
Exit codes:
  0    success, whether a gate promoted or rejected the model
  1    a step or the cluster failed, or a bug
  2    the recipe, an argument or the source is wrong
  3    a gate rejected the model and --fail-on-reject is given
  4    the S3 store fails or refuses a request
  5    another process changed or uses the same thing; run the command again
  6    this machine: disk, permission, memory, open files, output
  129, 130, 143  ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM
  141  the reader of the output, such as head, has ended

"""


def example(*commands: str) -> str:
    """Return a click epilog that shows the commands, one per line."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)
