/* SPDX-License-Identifier: MIT */
/* The status page and its Content-Security-Policy (level 3).  Pure. */
#include "page.h"

#include <stdio.h>
#include <string.h>

#define MARK      "@NONCE@"
#define NONCE_MAX 33
#define PAGE_MAX  (1u << 20)

/* Made from fcgi/metrics/page/ by its embed.awk. */
extern const char page_text[];

static void
put_document(struct buf *out, struct span nonce)
{
	const char *from = page_text, *mark;

	while ((mark = strstr(from, MARK)) != NULL) {
		buf_add(out, span_of(from, (size_t)(mark - from)));
		buf_add(out, nonce);
		from = mark + strlen(MARK);
	}
	buf_add(out, span_str(from));
}

static void
put_head(struct buf *out, const char *nonce, size_t body_len)
{
	buf_addf(out,
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
	size_t start = out->len;
	char text[NONCE_MAX];
	struct buf body;

	(void)snprintf(text, sizeof(text), "%016llx%016llx",
	    (unsigned long long)nonce[0], (unsigned long long)nonce[1]);
	buf_init(&body, PAGE_MAX);
	put_document(&body, span_str(text));
	put_head(out, text, body.len);
	buf_note(out, buf_status(&body));
	if (!head_only)
		buf_add_buf(out, &body);
	buf_fini(&body);
	return buf_finish(out, start);
}
