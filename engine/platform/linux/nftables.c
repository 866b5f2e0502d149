/*
 * nftables.c - see nftables.h. Read by the library that writes our own table, not by a program found
 * by a path, which could be missing or somebody else's.
 */
#include "nftables.h"

#include <errno.h>
#include <string.h>

#include <nftables/libnftables.h>

int bh_nftables_list(char **json, struct bh_error *err)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	const char *message, *text;
	int rc = 0;

	if (!nft)
		return bh_error_set(err, -ENOMEM, "cannot reach nftables in the kernel");
	nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE);
	nft_ctx_buffer_output(nft);
	nft_ctx_buffer_error(nft);
	if (nft_run_cmd_from_buffer(nft, "list ruleset")) {
		message = nft_ctx_get_error_buffer(nft);
		rc = bh_error_set(err, -EIO, "nftables cannot be read: %.*s", message ? (int)strcspn(message, "\n") : 0,
		                  message ? message : "");
	} else {
		text = nft_ctx_get_output_buffer(nft);
		*json = strdup(text ? text : "");
		if (!*json)
			rc = bh_error_set(err, -ENOMEM, "not enough memory for the rules of nftables");
	}
	nft_ctx_free(nft);
	return rc;
}
