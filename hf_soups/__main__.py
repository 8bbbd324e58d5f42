"""`python -m hf_soups …` is `hf-soups …`."""

from hf_soups.cli import main

if __name__ == "__main__":
    main()
