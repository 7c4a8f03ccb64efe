#!/usr/bin/env bash
# keep_output.sh FILE COMMAND…: runs the command; what it prints goes to FILE, and to the terminal if it fails.
file=$1
shift
if ! "$@" > "$file" 2>&1; then
  cat "$file" >&2
  exit 1
fi
