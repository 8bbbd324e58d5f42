"""The learned soup: mixing weights by gradient descent, in the memory of one model, and its linearised version."""
