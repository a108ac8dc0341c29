# SPDX-License-Identifier: MIT
# Makes one C string of the status page: status.html, in which a line that is
# only "@FILE@" stands for the text of that file.
# Usage: awk -f embed.awk fcgi/metrics/page/status.html
function put(line) {
	gsub(/\\/, "&&", line)
	gsub(/"/, "\\\"", line)
	gsub(/\?\?/, "?\\?", line)
	print "    \"" line "\\n\""
}
BEGIN {
	print "/* Made from fcgi/metrics/page/ by embed.awk; do not edit. */"
	print "extern const char page_text[];"
	print "const char page_text[] ="
}
FNR == 1 {
	dir = FILENAME
	sub(/[^\/]*$/, "", dir)
}
/^@[a-z.]+@$/ {
	file = dir substr($0, 2, length($0) - 2)
	while ((got = (getline line <file)) > 0)
		put(line)
	if (got < 0) {
		print "embed.awk: cannot read " file >"/dev/stderr"
		failed = 1
		exit 1
	}
	close(file)
	next
}
{ put($0) }
END { if (!failed) print "    \"\";" }
