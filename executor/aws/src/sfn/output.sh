# Dalsegno: runs the command, then makes one JSON object of the lines NAME=JSON that it wrote, for Step Functions reads
# only that. Exit codes of its own: 215 an output that is declared was not written, 216 a line is not NAME=JSON. Whether
# a value is JSON is only found out where there is python3.
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
if command -v python3 >/dev/null 2>&1; then
  python3 -c 'import json, os, re, sys
def no(code, what):
    sys.stderr.write("dalsegno: " + what + "\n")
    sys.exit(code)
def strange(word):
    raise ValueError(word + " is not in JSON")
path, found = sys.argv[1], {}
for number, line in enumerate(open(path, "rb").read().split(b"\n"), 1):
    try:
        line = line.decode().strip()
    except ValueError:
        no(216, "line %d of the output file is not UTF-8" % number)
    if not line:
        continue
    name, sign, value = line.partition("=")
    name = name.rstrip()
    if not sign or not re.match("[A-Za-z_][A-Za-z0-9_]*$", name):
        no(216, "line %d of the output file is not NAME=JSON" % number)
    try:
        json.loads(value, parse_constant=strange)
    except ValueError as error:
        no(216, "line %d of the output file: the value of %s is not JSON (%s)" % (number, name, error))
    found[name] = value.strip()
missing = [name for name in sys.argv[2].split() if name not in found]
if missing:
    no(215, "declared but not written: " + ", ".join(missing))
with open(path + ".json", "wb") as out:
    out.write(("{" + ",".join("\"%s\":%s" % it for it in found.items()) + "}\n").encode())
os.replace(path + ".json", path)' "$DALSEGNO_OUTPUT" "$names"
  exit
fi
separator='{'
seen=' '
while read -r line || [ -n "$line" ]; do
  case $line in
    *=*) ;;
    '') continue ;;
    *)
      printf '%s' "$line" >"$DALSEGNO_OUTPUT.bad"
      continue
      ;;
  esac
  name=${line%%=*}
  name=${name%%[![:alnum:]_]*}
  printf '%s"%s":%s' "$separator" "$name" "${line#*=}"
  separator=','
  seen="$seen$name "
  printf '%s' "$seen" >"$DALSEGNO_OUTPUT.names"
done <"$DALSEGNO_OUTPUT" >"$DALSEGNO_OUTPUT.json"
if [ -e "$DALSEGNO_OUTPUT.bad" ]; then
  echo "dalsegno: a line of the output file is not NAME=JSON: $(cat "$DALSEGNO_OUTPUT.bad")" >&2
  exit 216
fi
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
