#!/usr/bin/env bash
# The end: all neurons are accounted for; verify, backup and restore as deploy/README.md has them
"${compose[@]}" up -d --no-build --scale api-worker=6 >/dev/null 2>&1
within 400 run_is long done
sql "SELECT stage, total, done, failed FROM run_progress ORDER BY stage_order"
holds "SELECT bool_and(total > 0 AND done + failed = total) FROM run_progress" ||
  fail "a stage is not complete"
holds "SELECT count(*) = 576 AND bool_and(score IS NOT NULL OR reason IS NOT NULL)
       FROM neuron_summary" || fail "neurons have neither a score nor a reason"
neurogloss verify || fail "verify finds differences"
asked=$(docker exec "$(containers rehearsal)" python -c "
import json, urllib.request as r
print(json.load(r.urlopen('http://127.0.0.1:8100/rehearsal/stats'))['answered'])")
note "calls stored: $(sql "SELECT count(*) FROM call"); answered since down and up: $asked"

postgres=$(containers postgres)
docker exec "$postgres" pg_dump -U neurogloss -Fc --no-owner --no-privileges neurogloss >"$folder/dump"
docker exec "$postgres" createdb -U neurogloss restored
docker exec -i "$postgres" pg_restore -U neurogloss -d restored --no-owner --no-privileges \
  --exit-on-error --single-transaction <"$folder/dump"
owner=$(sed -n 's/^POSTGRES_PASSWORD=//p' "$ENV_FILE")
"${compose[@]}" run --rm --no-deps -T -e \
  "DATABASE_URL=postgresql+psycopg2://neurogloss:$owner@postgres:5432/restored" \
  orchestrator neurogloss verify || fail "verify finds differences in what was restored"
