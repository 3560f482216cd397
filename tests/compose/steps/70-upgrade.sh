#!/usr/bin/env bash
# Upgrade of what is up, under a run: a new version with a migration; nothing is lost
"${compose[@]}" run -d --rm --no-deps orchestrator neurogloss resume long >/dev/null 2>&1
within 60 holds "SELECT count(*) > 0 FROM shard WHERE stage <> 'collect' AND state = 'leased'"
head=$(sql "SELECT version_num FROM alembic_version")
mkdir "$folder/next"
cat >"$folder/next/9999_next.py" <<MIGRATION
"""Nothing but another version."""

revision = "9999"
down_revision = "$head"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
MIGRATION
chmod a+r "$folder/next/9999_next.py"
for image in api orchestrator gpu; do
  printf 'FROM neurogloss-%s:test\nENV NEUROGLOSS_COMMIT=two\nCOPY 9999_next.py migrations/versions/\n' \
    "$image" | docker build -q -t "neurogloss-$image:next" -f - "$folder/next" >/dev/null
done
calls=$(sql "SELECT count(*) FROM call")
TAG=next "${compose[@]}" up -d --no-build >/dev/null 2>&1 || fail "up of the new version"
[ "$(sql "SELECT version_num FROM alembic_version")" = 9999 ] || fail "migrate did not run"
for service in orchestrator api-worker cpu-worker web; do
  docker exec "$(containers $service | head -1)" neurogloss --version | grep -q 'commit two' ||
    fail "$service is not of the new version"
done
run_is long running || fail "the upgrade stopped the run: $(sql "SELECT pause_reason FROM run")"
within 60 holds "SELECT count(*) > $calls FROM call"
found=$("${compose[@]}" run --rm --no-deps -T api-worker 2>&1) && fail "an old worker starts"
grep -q "the database is at schema 9999" <<<"$found" || fail "an old worker does not say: $found"
note "an old worker: $(tail -1 <<<"$found")"
export TAG=next
