"""The command `wm`."""

from wm.runtime import interrupt


def main() -> None:
    """Runs the command line."""
    interrupt.install()
    from wm import cli  # after the handler is installed, since the import takes a while

    cli.main()


if __name__ == "__main__":
    main()
