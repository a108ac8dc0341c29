/* SPDX-License-Identifier: MIT */
/* The status page and its Content-Security-Policy (level 3).  Pure. */
#include "page.h"

#include <stdio.h>
#include <string.h>

#define MARK      "@NONCE@"
#define NONCE_MAX 33
#define PAGE_MAX  (1u << 20)

/* Made from fcgi/page/ by fcgi/page/embed.awk. */
extern const char page_text[];

static enum status
put_document(struct buf *out, struct span nonce)
{
	const char *from = page_text, *mark;
	enum status st = ST_OK;

	while (st == ST_OK && (mark = strstr(from, MARK)) != NULL) {
		st = buf_append(out, span_of(from, (size_t)(mark - from)));
		if (st == ST_OK)
			st = buf_append(out, nonce);
		from = mark + strlen(MARK);
	}
	return st == ST_OK ? buf_append(out, span_str(from)) : st;
}

static enum status
put_head(struct buf *out, const char *nonce, size_t body_len)
{
	return buf_printf(out,
	    "Status: 200 OK\r\n"
	    "Content-Type: text/html; charset=utf-8\r\n"
	    "Content-Length: %zu\r\n"
	    "Cache-Control: no-store\r\n"
	    "Vary: Accept\r\n"
	    "Content-Security-Policy: default-src 'none'; "
	    "script-src 'nonce-%s'; style-src 'nonce-%s'; "
	    "connect-src 'self'; img-src data:; base-uri 'none'; "
	    "form-action 'none'; frame-ancestors 'none'\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "X-Frame-Options: DENY\r\n"
	    "Referrer-Policy: no-referrer\r\n"
	    "\r\n",
	    body_len, nonce, nonce);
}

enum status
page_put(struct buf *out, const uint64_t nonce[2], bool head_only)
{
	size_t before = out->len;
	char text[NONCE_MAX];
	struct buf body;
	enum status st;

	(void)snprintf(text, sizeof(text), "%016llx%016llx",
	    (unsigned long long)nonce[0], (unsigned long long)nonce[1]);
	buf_init(&body, PAGE_MAX);
	st = put_document(&body, span_str(text));
	if (st == ST_OK)
		st = put_head(out, text, body.len);
	if (st == ST_OK && !head_only)
		st = buf_append(out, buf_span(&body));
	if (st != ST_OK)
		buf_truncate(out, before);
	buf_fini(&body);
	return st;
}
