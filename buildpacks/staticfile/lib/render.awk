# Fills in an nginx.conf for one instance: <%= ENV["NAME"] %> becomes the variable's value, and
# <% if ENV["NAME"] %> ... <% else %> ... <% end %> on lines of their own keep or drop what is between.
# Adds what an unprivileged nginx needs wherever the file does not say it itself.
function name_in(text) {
  match(text, /ENV\[["'][A-Za-z_0-9]+["']\]/)
  return RSTART ? substr(text, RSTART + 5, RLENGTH - 7) : ""
}
function is_set(name) { return ENVIRON[name] != "" && ENVIRON[name] !~ /^(false|off|0)$/ }
function refuse(text) {
  printf "nginx.conf line %d: only ENV[\"NAME\"] is understood between <%% and %%>: %s\n", NR, text > "/dev/stderr"
  failed = 1
  exit 1
}
BEGIN { depth = 0; shown[0] = 1 }
/^[ \t]*<% *if / {
  name = name_in($0)
  if (name == "") refuse($0)
  depth++
  shown[depth] = shown[depth - 1] && is_set(name)
  next
}
/^[ \t]*<% *else *%>/ { shown[depth] = shown[depth - 1] && !shown[depth]; next }
/^[ \t]*<% *end *%>/ { depth--; next }
!shown[depth] { next }
{
  line = $0
  while (match(line, /<%= *ENV\[["'][A-Za-z_0-9]+["']\] *%>/)) {
    before = substr(line, 1, RSTART - 1)
    after = substr(line, RSTART + RLENGTH)
    line = before ENVIRON[name_in(substr(line, RSTART, RLENGTH))] after
  }
  if (line ~ /<%/) refuse(line)
  if (line ~ /^[ \t]*pid[ \t]/) has_pid = 1
  if (line ~ /^[ \t]*daemon[ \t]/) has_daemon = 1
  if (line ~ /client_body_temp_path/) has_temp = 1
  body[++count] = line
}
END {
  if (failed) exit 1
  temp = ENVIRON["APP_ROOT"] "/nginx/temp"
  if (!has_daemon) print "daemon off;"
  if (!has_pid) print "pid " temp "/nginx.pid;"
  for (i = 1; i <= count; i++) {
    print body[i]
    if (!has_temp && body[i] ~ /^[ \t]*http[ \t]*\{/) {
      has_temp = 1
      print "  client_body_temp_path " temp "/body; proxy_temp_path " temp "/proxy; fastcgi_temp_path " temp "/fastcgi;"
      print "  uwsgi_temp_path " temp "/uwsgi; scgi_temp_path " temp "/scgi;"
    }
  }
}
