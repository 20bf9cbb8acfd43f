"""`make test-distributed`: a cleanup on two Celery workers, one of which is killed, and a gate whose triggerer is.

A real deployment on loopback: PostgreSQL, Redis, api-server, scheduler, dag-processor, triggerer, two workers. At the
end exactly the stale flows must be gone, each must be restorable from an archive, and no task may be stuck.
"""
