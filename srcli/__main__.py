"""``python -m srcli``: the command line where its script is not on the path."""

from srcli.cli import main

if __name__ == "__main__":
    main()
