#!/usr/bin/env bash
# Files: an export is taken out, psql of this host reads, a run is deleted
neurogloss export second --format parquet --to second
"${compose[@]}" cp orchestrator:/output/second "$folder/second" >/dev/null 2>&1
(cd "$folder/second" && sha256sum --quiet --check SHA256SUMS) || fail "the export is not whole"
note "taken out: $(find "$folder/second" -type f | wc -l) files"

address=$("${compose[@]}" port postgres 5432)
[[ $address == 127.0.0.1:* ]] || fail "Postgres is not on loopback alone: $address"
PGPASSWORD=$(sed -n 's/^READER_DB_PASSWORD=//p' "$ENV_FILE")
export PGPASSWORD
reader="host=127.0.0.1 port=${address##*:} dbname=neurogloss user=neurogloss_reader"
psql "$reader" -c "SELECT run, stage, done, total, state FROM run_progress" || fail "psql"
! psql "$reader" -qc "DELETE FROM score" 2>/dev/null || fail "the reader may delete"
unset PGPASSWORD

neurogloss delete second --yes
holds "SELECT count(*) = 1 FROM run" || fail "the run is still there"
