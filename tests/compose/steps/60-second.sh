#!/usr/bin/env bash
# A second run beside the paused one, of an own model and corpus; the orchestrator finishes it
"${compose[@]}" run -d --no-deps --name "$COMPOSE_PROJECT_NAME-typed" orchestrator \
  neurogloss run /runs/second.toml >/dev/null 2>&1
within 90 run_is second running
docker kill "$COMPOSE_PROJECT_NAME-typed" >/dev/null
docker rm "$COMPOSE_PROJECT_NAME-typed" >/dev/null
within 180 run_is second done
run_is long paused || fail "the second run let the first go on"
[ "$(sql "SELECT config #>> '{subject,model}' || ' in ' || folder FROM run WHERE name = 'second'")" = \
  "models/mine in /runs" ] || fail "where is the model?"
neurogloss runs
neurogloss runs --json | grep -q '"second"' || fail "runs --json lacks the second run"
