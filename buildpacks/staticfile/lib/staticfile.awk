# Prints the settings of a Staticfile, a small YAML map, as "name<TAB>value" lines.
function bare(text) {
  sub(/^[ \t]+/, "", text)
  if (text ~ /^"[^"]*"/ || text ~ /^'[^']*'/) {
    return substr(text, 2, index(substr(text, 2), substr(text, 1, 1)) - 1)
  }
  sub(/[ \t]+#.*$/, "", text)
  sub(/[ \t\r]+$/, "", text)
  return text
}
/^[ \t]*(#|---|\r?$)/ { next }
{
  colon = index($0, ":")
  if (colon == 0) { printf "%s\t\n", bare($0); next }
  name = bare(substr($0, 1, colon - 1))
  value = bare(substr($0, colon + 1))
  if ($0 ~ /^[ \t]/) { if (section != "") printf "%s/%s\t%s\n", section, name, value; next }
  section = (value == "") ? name : ""
  if (value != "") printf "%s\t%s\n", name, value
}
