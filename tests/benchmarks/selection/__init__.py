"""What choosing costs on sixteen real fine-tunes: `python -m tests.benchmarks.selection --help`."""
