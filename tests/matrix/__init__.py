"""`make matrix`: run the test suite on every supported combination of Airflow and Python.

`cells` lists the combinations, `outcomes` reads and caches results, `table` publishes them, and `__main__` runs the
suites. The modules need only Python and git, because each combination has an environment of its own.
"""
