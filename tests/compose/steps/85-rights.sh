#!/usr/bin/env bash
# Rights and health of what is up, and the pages on the port of this host
for service in postgres redis orchestrator cpu-worker api-worker web; do
  for container in $(containers "$service"); do
    docker exec "$container" sh -c 'touch /etc/x' 2>/dev/null && fail "$service can write /etc"
    docker exec "$container" grep -q '^NoNewPrivs:.1' /proc/self/status || fail "$service may rise"
    if [ "$service" = api-worker ]; then
      docker exec "$container" env | grep -E '^[A-Z_]+_PASSWORD=.' && fail "$service has passwords"
    fi
    [ "$service" = redis ] && continue  # it is the image's part to step down from root
    # The process itself, below the init that forwards signals to it.
    process=$(docker exec "$container" sh -c 'cat /proc/1/task/1/children' | cut -d' ' -f1)
    docker exec "$container" grep -q '^Uid:.0' "/proc/$process/status" && fail "$service runs as root"
    docker exec "$container" grep -q '^CapEff:.0*$' "/proc/$process/status" ||
      fail "$service has capabilities"
  done
done
roles=$(sql "SELECT string_agg(DISTINCT usename, ' ' ORDER BY usename) FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND usename <> 'neurogloss'")
[ "$roles" = "neurogloss_orchestrator neurogloss_web neurogloss_worker" ] ||
  fail "connected as: $roles"
for service in postgres redis orchestrator cpu-worker api-worker web; do wait_healthy "$service"; done

address=$("${compose[@]}" port web 8200)
[[ $address == 127.0.0.1:* ]] || fail "pages are not on loopback alone: $address"
page() { docker exec "$(containers web)" python -c '
import sys, urllib.request as r
print(r.urlopen(r.Request("http://127.0.0.1:8200" + sys.argv[1]), timeout=10).read().decode())' "$1"; }
page /runs.json | grep -q '"state": "done"' || fail "no page says that the run is done"
page /runs/long/text | grep -q 'Which neurons answer' || fail "no page for texts"
