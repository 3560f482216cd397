"""What a GPU does with collect: `python -m benchmarks.gpu`; see benchmarks/gpu/README.md."""
