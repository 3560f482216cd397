#!/usr/bin/env bash
# Stopping: every worker signs off within its time
started=$SECONDS
"${compose[@]}" stop api-worker cpu-worker orchestrator >/dev/null 2>&1
((SECONDS - started < 45)) || fail "they had to be killed"
note "within $((SECONDS - started)) s"
holds "SELECT count(*) = 0 FROM worker WHERE heartbeat_at > now() - interval '1 minute'" ||
  fail "a worker that was stopped did not sign off"
