"""``python -m inferencesim`` is the command line."""

from inferencesim.cli.main import main

if __name__ == "__main__":
    main()
