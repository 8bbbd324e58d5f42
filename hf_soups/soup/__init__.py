"""A soup: a checkpoint whose tensors have not been computed yet."""

from hf_soups.soup.soup import Open, Soup

__all__ = ["Open", "Soup"]
