/**
 * The options of an `oauth` rule, checked together in PostgreSQL's order: scope, issuer, validator,
 * map and delegation (`auth-oauth.c: check_oauth_validator()`).
 *
 * @module
 */
import { fromText, toText } from '../byte-string.ts'
import { discoveryResponse, MAX_DISCOVERY_RESPONSE_BYTES } from '../protocol/oauth-discovery.ts'
import type { HbaLoadContext, HbaOAuthOptions } from './hba-line.ts'
import type { LineErrors } from './line-errors.ts'
import type { RawOptions } from './parse-options.ts'

/** @throws {@link ConfigFileError} for the first thing that is wrong. */
export function checkOAuthOptions(
  options: RawOptions,
  context: Pick<HbaLoadContext, 'oauthValidatorLibraries'>,
  errors: LineErrors,
): HbaOAuthOptions {
  const scope = options.scope ?? failMissing('scope', errors)
  const issuer = options.issuer ?? failMissing('issuer', errors)
  const validator = chooseValidator(options, context.oauthValidatorLibraries, errors)
  if (options.delegateIdentMapping && options.map !== undefined) {
    errors.fail('map cannot be used in combination with delegate_ident_mapping')
  }
  const { length } = discoveryResponse(issuer, scope)
  if (length > MAX_DISCOVERY_RESPONSE_BYTES) {
    errors.fail(
      `issuer and scope make an OAuth discovery response of ${length} bytes; clients read at most ${MAX_DISCOVERY_RESPONSE_BYTES}`,
    )
  }
  const { delegateIdentMapping, tokenInPassword } = options
  // Most rules have none, and there may be many rules.
  const validatorOptions = options.validatorOptions.size === 0 ? NONE : options.validatorOptions
  return { issuer, scope, validator, delegateIdentMapping, tokenInPassword, validatorOptions }
}

const NONE: ReadonlyMap<string, string> = new Map()

function failMissing(name: string, errors: LineErrors): never {
  errors.fail(`authentication method "oauth" requires argument "${name}" to be set`)
}

function chooseValidator(
  { validator }: RawOptions,
  libraries: readonly string[],
  errors: LineErrors,
): string {
  const [only] = libraries
  if (only === undefined) {
    return errors.fail(
      'parameter "oauth_validator_libraries" must be set for authentication method "oauth"',
    )
  }
  if (validator === undefined) {
    return libraries.length === 1
      ? only
      : errors.fail(
          'authentication method "oauth" requires option "validator" to be set when "oauth_validator_libraries" contains multiple options',
        )
  }
  return (
    libraries.find((library) => fromText(library) === validator) ??
    errors.fail(
      `validator "${toText(validator)}" is not permitted by "oauth_validator_libraries"`,
      {
        sqlState: '22023',
      },
    )
  )
}
