#!/usr/bin/env bash
# Settings: .env from the example; a password that is missing is named, and nothing starts
mkdir -p "$folder/runs/models"
cp deploy/runs/*.toml "$folder/runs"
cp -r neurogloss/subject/demo "$folder/runs/models/mine"
mkdir "$folder/runs/texts"
cp README.md CONTRIBUTING.md docs/*.md LICENSE "$folder/runs/texts"
(cd "$folder/runs/texts" && for file in *; do mv "$file" "${file%.md}.txt"; done)
# One shard at a time and slow answers: the rate is that of the workers, not of this machine.
sed 's/^name = .*/name = "long"/; s/^per_layer = .*/per_layer = 96/' deploy/runs/rehearsal.toml >"$folder/runs/long.toml"
cat >"$folder/runs/second.toml" <<'RUN'
name = "second"
[subject]
model = "models/mine"
[corpus]
source = "texts"
excerpts = 300
[records]
top = 8
random = 6
[scoring]
top = 2
random = 2
[neurons]
layers = [0]
per_layer = 32
[explainer]
kind = "lookup"
[simulator]
kind = "lookup"
RUN
chmod -R a+rX "$folder/runs"

while IFS= read -r line; do
  if [[ $line =~ ^[A-Z_]+_PASSWORD=$ ]]; then line+=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n'); fi
  printf '%s\n' "$line"
done <.env.example >"$ENV_FILE"
cat >>"$ENV_FILE" <<SETTINGS
POSTGRES_PORT=
REDIS_PORT=
WEB_PORT=
POSTGRES_SHARED_BUFFERS=128MB
NEUROGLOSS_LEASE_SECONDS=12
RUNS_FOLDER=$folder/runs
RUN=long
API_CONCURRENCY=1
REHEARSAL_LATENCY_MS=5000
SETTINGS

for name in POSTGRES ORCHESTRATOR_DB WORKER_DB READER_DB WEB_DB REDIS; do
  grep -v "^${name}_PASSWORD" "$ENV_FILE" >"$folder/lacking"
  found=$(docker compose --env-file "$folder/lacking" config 2>&1) &&
    fail "it does without ${name}_PASSWORD"
  grep -q "set ${name}_PASSWORD in .env" <<<"$found" || fail "not named: ${name}_PASSWORD: $found"
done
