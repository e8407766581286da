# Dalsegno: runs the command, then makes one JSON object of the lines NAME=JSON that it wrote, for Step Functions reads
# only that. Exit code of its own: 215 an output that is declared was not written.
names=$1
shift
"$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
while :; do
  wait "$child"
  status=$?
  kill -0 "$child" 2>/dev/null || break
done
[ "$status" = 0 ] || exit "$status"
[ -e "$DALSEGNO_OUTPUT" ] || : >"$DALSEGNO_OUTPUT"
separator='{'
seen=' '
while read -r line || [ -n "$line" ]; do
  case $line in
    *=*) ;;
    *) continue ;;
  esac
  name=${line%%=*}
  name=${name%%[![:alnum:]_]*}
  printf '%s"%s":%s' "$separator" "$name" "${line#*=}"
  separator=','
  seen="$seen$name "
  printf '%s' "$seen" >"$DALSEGNO_OUTPUT.names"
done <"$DALSEGNO_OUTPUT" >"$DALSEGNO_OUTPUT.json"
seen=$(cat "$DALSEGNO_OUTPUT.names" 2>/dev/null)
for name in $names; do
  case " $seen " in
    *" $name "*) ;;
    *)
      echo "dalsegno: declared but not written: $name" >&2
      exit 215
      ;;
  esac
done
[ -s "$DALSEGNO_OUTPUT.json" ] || printf '{' >"$DALSEGNO_OUTPUT.json"
printf '}\n' >>"$DALSEGNO_OUTPUT.json"
mv "$DALSEGNO_OUTPUT.json" "$DALSEGNO_OUTPUT"
