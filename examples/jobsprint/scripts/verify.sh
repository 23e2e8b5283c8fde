#!/bin/sh
# After a deploy: the pages and the API answer.
set -eu
curl -fsS "${APP_URL:-https://jobsprint.io}/health" >/dev/null
