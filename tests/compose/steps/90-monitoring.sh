#!/usr/bin/env bash
# The profile `monitoring`: its configuration, and where its images are at hand, both servers
"${compose[@]}" --profile monitoring config --quiet || fail "the configuration of the profile"
images=$("${compose[@]}" --profile monitoring config --images | grep -E '^(prom|grafana)/')
for image in $images; do
  if ! docker image inspect "$image" >/dev/null 2>&1 && ! docker pull -q "$image" >/dev/null 2>&1; then
    note "NOT TRIED: there is no image $image here"
    return 0
  fi
done
"${compose[@]}" --profile monitoring up -d --no-build --no-recreate prometheus grafana >/dev/null 2>&1
wait_healthy prometheus
wait_healthy grafana
