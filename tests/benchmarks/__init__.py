"""What a merge costs, beside copying the same files and beside mergekit. Nothing here is timed by the test suite."""
