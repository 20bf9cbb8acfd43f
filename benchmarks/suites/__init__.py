"""One module per suite; ``benchmarks.suite.Suite`` describes what each provides."""
