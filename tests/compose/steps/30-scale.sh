#!/usr/bin/env bash
# Scale from 2 to 6 to 3 API workers: the rate follows within a minute or so
within 90 holds "SELECT stage_done > 0 FROM (SELECT sum(done) AS stage_done FROM run_progress
  WHERE stage = 'simulate') AS p"
sleep 45
rate_of_2=$(rate_of long)
"${compose[@]}" up -d --no-build --scale api-worker=6 >/dev/null 2>&1
within 60 holds "SELECT count(*) = 6 FROM worker WHERE queue = 'api'"
sleep 60
rate_of_6=$(rate_of long)
"${compose[@]}" up -d --no-build --scale api-worker=3 >/dev/null 2>&1
within 30 holds "SELECT count(*) = 3 FROM worker WHERE queue = 'api'"
sleep 60
# The rate of the last minute is counted by whole minutes: a part of the one before may be in it.
is_slower() { rate_of_3=$(rate_of long); ((4 * rate_of_3 < 3 * rate_of_6)); }
within 45 is_slower
note "neurons a minute with 2, 6 and 3 workers: $rate_of_2, $rate_of_6, $rate_of_3"
((rate_of_6 > 2 * rate_of_2)) || fail "six workers are not twice as fast as two"
holds "SELECT count(*) = 0 FROM failure" || fail "scaling failed neurons"
