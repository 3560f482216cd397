#!/usr/bin/env bash
# Up, from nothing: the run of RUN begins, with the API workers of API_WORKERS
"${compose[@]}" up -d --no-build >/dev/null 2>&1 || fail "up"
within 120 holds "SELECT count(*) > 0 FROM explanation"
[ "$(n_running api-worker)" = 2 ] || fail "not two API workers"
note "the first explanation is there; run $(sql "SELECT name || ' is ' || state FROM run")"
for service in postgres redis orchestrator api-worker cpu-worker web rehearsal; do
  [ "$(inspect "$(containers $service | head -1)" .HostConfig.LogConfig.Config)" = \
    "map[max-file:5 max-size:20m]" ] || fail "the log of $service does not rotate"
done
