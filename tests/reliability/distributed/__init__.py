"""`make test-distributed`: a cleanup on two Celery workers and a gate; one worker and the triggerer are killed.

The deployment runs on loopback: PostgreSQL, Redis, api-server, scheduler, dag-processor, triggerer, two workers. At the
end exactly the stale flows must be deleted, each must be restorable from an archive, and no task may be stuck.
"""
