"""Our own connections to the Hub: resolve, read by range, pull, push."""
