#!/usr/bin/env bash
# Paused by a person: it stays so through restart, up --scale, down and up, with as many workers
neurogloss pause long
is_still_paused() { run_is long paused || fail "$1 let a paused run go on"; }
"${compose[@]}" restart orchestrator >/dev/null 2>&1
sleep 5
is_still_paused restart
"${compose[@]}" up -d --no-build --scale api-worker=4 >/dev/null 2>&1
sleep 5
is_still_paused "up --scale"
[ "$(n_running api-worker)" = 4 ] || fail "not four API workers"
within 60 holds "SELECT count(*) = 0 FROM shard WHERE state = 'leased'"
stored="SELECT count(*) || ' calls, ' || (SELECT count(*) FROM simulation) || ' simulations' FROM call"
before=$(sql "$stored")
"${compose[@]}" down >/dev/null 2>&1
"${compose[@]}" up -d --no-build >/dev/null 2>&1 || fail "up after down"
within 60 holds "SELECT count(*) = 2 FROM worker WHERE queue = 'api'"
sleep 5
is_still_paused "up after down"
[ "$(sql "$stored")" = "$before" ] || fail "down and up changed what is stored: $before"
note "after down and up, paused as before: $before"
wait_healthy orchestrator
