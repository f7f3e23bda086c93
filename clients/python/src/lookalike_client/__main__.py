"""`python -m lookalike_client` is the `lookalike` command."""

from lookalike_client.cli import main

if __name__ == "__main__":
    main()
