# Dalsegno: fetches what the task needs, runs it, brings back what it says. Exit codes of its own: 212 nothing here can
# fetch, 213 something could not be fetched, 214 the outputs could not be brought back.
say() { echo "dalsegno: $*" >&2; }
work=$(mktemp -d) || { say "there is no room for temporary files"; exit 213; }
done_with() { rm -rf "$work"; exit "$1"; }
copy() {
  if command -v aws >/dev/null 2>&1; then
    aws s3 cp --only-show-errors "$1" "$2"
  else
    python3 -c 'import boto3, sys
one, two = sys.argv[1:]
s3 = boto3.client("s3")
if one.startswith("s3://"):
    s3.download_file(*one[5:].split("/", 1), two)
else:
    s3.upload_file(one, *two[5:].split("/", 1))' "$1" "$2"
  fi
}
bring() {
  for wait in 1 2 4 8 16 0; do
    copy "$1" "$2" && return 0
    [ "$wait" = 0 ] || { say "copying $1 failed, next try in $wait s"; sleep "$wait"; }
  done
  return 1
}
if [ -n "${DALSEGNO_CODE_URI:-}${DALSEGNO_ENV_URI:-}${DALSEGNO_ITEMS_URI:-}${DALSEGNO_OUTPUT_URI:-}" ]; then
  command -v aws >/dev/null 2>&1 || python3 -c 'import boto3' >/dev/null 2>&1 || {
    say "the image has neither the AWS CLI (aws) nor python3 with boto3, and the task needs S3: add one of them"
    done_with 212
  }
fi
if [ -n "${DALSEGNO_ITEMS_URI:-}" ]; then
  bring "$DALSEGNO_ITEMS_URI" "$work/items" || { say "the items could not be fetched"; done_with 213; }
  line=$(sed -n "$((AWS_BATCH_JOB_ARRAY_INDEX + 1))p" "$work/items")
  case $line in
    skip) say "nobody wants this item any more"; done_with 0 ;;
    '') say "there is no item $AWS_BATCH_JOB_ARRAY_INDEX"; done_with 213 ;;
  esac
  printf '%s' "$line" | base64 -d >"$work/item" || { say "item $AWS_BATCH_JOB_ARRAY_INDEX is not readable"; done_with 213; }
  . "$work/item"
fi
if [ -n "${DALSEGNO_ENV_URI:-}" ]; then
  bring "$DALSEGNO_ENV_URI" "$work/env" || { say "the environment could not be fetched"; done_with 213; }
  . "$work/env"
fi
if [ -n "${DALSEGNO_CODE_URI:-}" ]; then
  bring "$DALSEGNO_CODE_URI" "$work/code.tgz" && mkdir "$work/code" && tar -xzf "$work/code.tgz" -C "$work/code" && cd "$work/code" ||
    { say "the code could not be fetched"; done_with 213; }
fi
if [ -n "${DALSEGNO_EVENT_JSON:-}" ]; then
  printf '%s' "$DALSEGNO_EVENT_JSON" >"$work/event.json"
  export DALSEGNO_EVENT="$work/event.json"
  unset DALSEGNO_EVENT_JSON
fi
export DALSEGNO_OUTPUT="$work/output"
child= stop=
trap 'stop=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT
"$@" &
child=$!
[ -z "$stop" ] || kill -TERM "$child" 2>/dev/null
while :; do
  wait "$child"
  status=$?
  kill -0 "$child" 2>/dev/null || break
done
if [ "$status" = 0 ] && [ -n "${DALSEGNO_OUTPUT_URI:-}" ] && [ -e "$work/output" ]; then
  bring "$work/output" "$DALSEGNO_OUTPUT_URI" || { say "the outputs could not be brought back"; done_with 214; }
fi
done_with "$status"
