# SPDX-License-Identifier: MIT
# Makes C string constants of SQL files.  A file becomes sql_FILE (without
# number, `-` as `_`); in statements.sql each `-- name: X` becomes sql_X.
# Usage: awk -v header=0|1 -f embed.awk FILE...
function close_text() {
	if (open_text && !header)
		print "    \"\";"
	open_text = 0
}
function begin_text(name) {
	close_text()
	if (header)
		print "extern const char sql_" name "[];"
	else
		print "const char sql_" name "[] ="
	open_text = 1
}
BEGIN {
	print "/* Made from sql/ by embed.awk; do not edit. */"
	if (header)
		print "#ifndef WALCAST_SQL_TEXT_H\n#define WALCAST_SQL_TEXT_H"
	else
		print "#include \"sql_text.h\""
}
FNR == 1 {
	base = FILENAME
	sub(/.*\//, "", base)
	sub(/\.sql$/, "", base)
	sub(/^[0-9]+-/, "migration_", base)
	gsub(/-/, "_", base)
	close_text()
	if (base != "statements")
		begin_text(base)
}
/^-- name: / { begin_text($3); next }
/^[ \t]*--/ || /^[ \t]*$/ { next }
open_text && !header {
	line = $0
	gsub(/\\/, "\\\\", line)
	gsub(/"/, "\\\"", line)
	gsub(/\t/, " ", line)
	print "    \"" line "\\n\""
}
END {
	close_text()
	if (header)
		print "#endif"
}
