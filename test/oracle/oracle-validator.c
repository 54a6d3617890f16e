/*
 * A validator for a real PostgreSQL that does what its token says; oracle-validator.js is the same for
 * pgbearer. It proves nothing about anybody: for tests only. NAME is in
 * hexadecimal, because an identity is more than a token may be.
 *
 *   accept.NAME   authorized, and NAME's          deny         refused, of nobody
 *   anonymous     authorized, of nobody           deny.NAME    refused, and NAME's
 *   empty         authorized, of ""               fail.NAME    an internal error, behind an identity
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/oauth.h"

PG_MODULE_MAGIC;

static const char *
behind(const char *token, const char *word)
{
	size_t		length = strlen(word);

	return strncmp(token, word, length) == 0 ? token + length : NULL;
}

static char *
from_hex(const char *hex)
{
	size_t		length = strlen(hex) / 2;
	char	   *text = palloc(length + 1);

	for (size_t i = 0; i < length; i++)
	{
		unsigned int byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		text[i] = (char) byte;
	}
	text[length] = '\0';
	return text;
}

static bool
validate(const ValidatorModuleState *state, const char *token, const char *role,
		 ValidatorModuleResult *result)
{
	const char *name;

	if ((name = behind(token, "accept.")) != NULL)
	{
		result->authorized = true;
		result->authn_id = from_hex(name);
	}
	else if (strcmp(token, "anonymous") == 0)
		result->authorized = true;
	else if (strcmp(token, "empty") == 0)
	{
		result->authorized = true;
		result->authn_id = pstrdup("");
	}
	else if ((name = behind(token, "deny.")) != NULL)
		result->authn_id = from_hex(name);
	else if ((name = behind(token, "fail.")) != NULL)
	{
		result->authorized = true;
		result->authn_id = from_hex(name);
		return false;
	}
	return true;
}

static const OAuthValidatorCallbacks callbacks = {
	.magic = PG_OAUTH_VALIDATOR_MAGIC,
	.validate_cb = validate,
};

const OAuthValidatorCallbacks *
_PG_oauth_validator_module_init(void)
{
	return &callbacks;
}
