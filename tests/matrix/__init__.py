"""`make matrix`: the suite on every Airflow and Python that the package supports.

`cells` says what there is to run, `outcomes` reads and keeps what came out, `table` writes it down for people, and
`__main__` runs it. Nothing here needs more than Python and git: it is Airflow's environments that are under test.
"""
