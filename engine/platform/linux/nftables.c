/*
 * nftables.c - see nftables.h. By the library, not by a program found by a path, which could be missing
 * or somebody else's; and loaded late, because most commands never call it.
 */
#include "nftables.h"

#include <errno.h>
#include <string.h>

#include <nftables/libnftables.h>

#include "../../base/late.h"

static struct {
	struct nft_ctx *(*open)(uint32_t flags);
	void (*close)(struct nft_ctx *);
	int (*buffer_output)(struct nft_ctx *);
	int (*buffer_error)(struct nft_ctx *);
	const char *(*output)(struct nft_ctx *);
	const char *(*errors)(struct nft_ctx *);
	void (*set_flags)(struct nft_ctx *, unsigned int flags);
	int (*run)(struct nft_ctx *, const char *);
} nftables;

static int load(struct bh_error *err)
{
	static const char *const names[] = {
		"nft_ctx_new", "nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error",
		"nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer", "nft_ctx_output_set_flags",
		"nft_run_cmd_from_buffer",
	};

	_Static_assert(sizeof(nftables) == sizeof(names), "a function for each name");
	return nftables.run ? 0
	                    : bh_late_load(BH_NFTABLES_SO, names, (void **)&nftables,
	                                   sizeof(names) / sizeof(names[0]), err);
}

/* The context opens its socket in the current namespace. */
static int open_context(struct nft_ctx **nft, struct bh_error *err)
{
	int rc = load(err);

	if (rc)
		return rc;
	*nft = nftables.open(NFT_CTX_DEFAULT);
	if (!*nft)
		return bh_error_set(err, -ENOMEM, "cannot reach nftables in the kernel");
	nftables.buffer_output(*nft);
	nftables.buffer_error(*nft);
	return 0;
}

/* Runs commands; a refusal is told by the first line of what the library says, after `refused`. */
static int run(struct nft_ctx *nft, const char *commands, const char *refused, const char *what,
               struct bh_error *err)
{
	const char *message;

	if (!nftables.run(nft, commands))
		return 0;
	message = nftables.errors(nft);
	return bh_error_set(err, -EIO, "nftables %s %s: %.*s", refused, what,
	                    message ? (int)strcspn(message, "\n") : 0, message ? message : "");
}

int bh_nftables_run(const char *commands, const char *what, struct bh_error *err)
{
	struct nft_ctx *nft;
	int rc = open_context(&nft, err);

	if (rc)
		return rc;
	rc = run(nft, commands, "refused", what, err);
	nftables.close(nft);
	return rc;
}

int bh_nftables_list(char **json, struct bh_error *err)
{
	struct nft_ctx *nft;
	const char *text;
	char *copy = NULL;
	int rc = open_context(&nft, err);

	if (rc)
		return rc;
	nftables.set_flags(nft, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE);
	rc = run(nft, "list ruleset", "cannot list", "the rules", err);
	if (!rc) {
		text = nftables.output(nft);
		copy = strdup(text ? text : "");
		if (!copy)
			rc = bh_error_set(err, -ENOMEM, "not enough memory for the rules of nftables");
	}
	nftables.close(nft);
	if (!rc)
		*json = copy;
	return rc;
}
