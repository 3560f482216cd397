#!/usr/bin/env bash
# Killed: an API worker's shard goes to others, and the orchestrator starts again
done_before=$(sql "SELECT sum(done) FROM run_progress")
victim=$(sql "SELECT host FROM worker_status WHERE queue = 'api' ORDER BY shard NULLS LAST LIMIT 1")
docker kill "$victim" >/dev/null
orchestrator=$(containers orchestrator)
docker exec "$orchestrator" sh -c 'kill -9 $(cat /proc/1/task/1/children)'
within 30 holds "SELECT true"
restarted() { [ "$(inspect "$orchestrator" .RestartCount)" = 1 ] &&
  [ "$(inspect "$orchestrator" .State.Status)" = running ]; }
within 30 restarted
within 60 holds "SELECT sum(done) > $done_before FROM run_progress"
run_is long running || fail "the run does not go on"
