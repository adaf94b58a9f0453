"""Format of the examples at the end of every ``--help``."""


def example(*commands: str) -> str:
    """Return a click epilog that shows the commands, one per line."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)
