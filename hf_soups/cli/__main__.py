"""`python -m hf_soups.cli …` is `hf-soups …`."""

from hf_soups.cli import main

if __name__ == "__main__":
    main()
