/** The pages of codes and reasons, compared with what the sources can say. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { UpstreamFailure } from '../../src/upstream/errors.ts'
import { isValidatorFault, type ValidatorFault } from '../../src/validator/validation-outcome.ts'
import type { DenyCode, FaultCode } from '../../validators/lib/refusal.ts'
import { codeSpans, page, section, tableRows } from './markdown.ts'

const ERRORS = page('reference/errors.md')
const CLIENT = page('reference/client.md')
const CODES = page('reference/validators/codes.md')
const JSON_PAGE = page('reference/explain-json.md')

// Each of these is complete because the compiler says so.
const UPSTREAM: Record<UpstreamFailure, true> = {
  settings: true,
  connect_failed: true,
  connect_timeout: true,
  tls_refused: true,
  tls_failed: true,
  protocol_violation: true,
  closed: true,
  no_credential: true,
  method_not_allowed: true,
  method_not_supported: true,
  channel_binding: true,
  server_not_authenticated: true,
  insecure_transport: true,
  token_unavailable: true,
}
const FAULTS: Record<ValidatorFault, true> = {
  returned_false: true,
  threw: true,
  bad_result: true,
  bad_authn_id: true,
  timeout: true,
  aborted: true,
  overloaded: true,
  crashed: true,
  fenced: true,
}
const DENIED: Record<DenyCode, true> = {
  malformed: true,
  limit_exceeded: true,
  header_rejected: true,
  alg_not_allowed: true,
  wrong_type: true,
  unknown_issuer: true,
  no_matching_key: true,
  ambiguous_key: true,
  key_rejected: true,
  bad_signature: true,
  wrong_audience: true,
  missing_claim: true,
  bad_claim_type: true,
  expired: true,
  not_yet_valid: true,
  issued_in_future: true,
  lifetime_too_long: true,
  insufficient_scope: true,
  client_not_allowed: true,
  claim_rule_failed: true,
  identity_invalid: true,
  email_unverified: true,
  role_not_granted: true,
  role_denied: true,
  token_inactive: true,
  sender_constrained: true,
  replayed: true,
}
const NO_ANSWER: Record<FaultCode, true> = {
  provider_unavailable: true,
  provider_auth_failed: true,
  provider_bad_response: true,
  timeout: true,
  overloaded: true,
  config_mismatch: true,
  internal: true,
}

const ROOT = fileURLToPath(new URL('../../src/', import.meta.url))

/** The text of all sources below `src/` but those of some folders. */
function sources(leftOut: readonly string[]): string {
  return readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !leftOut.some((folder) => name.startsWith(folder)))
    .map((name) => readFileSync(`${ROOT}${name}`, 'utf8'))
    .join('\n')
}

function found(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([, word = '']) => word))].sort()
}

const firstCells = (text: string): string[] =>
  tableRows(text).flatMap(([first = '']) => codeSpans(first))

describe('codes', () => {
  // One stands for a list of others; the other one is inside the host, which logs its `reason`.
  const NOT_SHOWN = ['ERR_CONFIG', 'ERR_VALIDATOR_FAULT']

  test('of the proxy are those that the errors have', () => {
    const text = sources(['client/', 'demo/', 'explain/'])
    const codes = found(text, /\bcode = '(ERR_[A-Z_]+)'/g).filter(
      (code) => !NOT_SHOWN.includes(code),
    )
    const rows = firstCells(ERRORS).filter((name) => name.startsWith('ERR_'))
    expect(codes.length).toBeGreaterThan(15)
    expect([...rows].sort()).toEqual(codes)
  })

  test('of the client side are those that its errors have', () => {
    const codes = found(readFileSync(`${ROOT}client/errors.ts`, 'utf8'), /code = '(ERR_[A-Z_]+)'/g)
    const said = firstCells(section(CLIENT, '## Errors')).filter((name) => name !== 'code')
    expect(said.sort()).toEqual(codes)
  })

  test('of explain are those that it can give', () => {
    const said = found(JSON_PAGE, /`(ERR_[A-Z_]+)`/g)
    const codes = found(sources(['client/', 'demo/']), /'(ERR_[A-Z_]+)'/g)
    expect(said.filter((code) => !codes.includes(code))).toEqual([])
    const own = readdirSync(`${ROOT}explain`).map((name) =>
      readFileSync(`${ROOT}explain/${name}`, 'utf8'),
    )
    for (const code of found(own.join('\n'), /'(ERR_[A-Z_]+)'/g)) {
      expect(said).toContain(code)
    }
  })
})

describe('reasons', () => {
  const token = section(ERRORS, '## Why a token was refused')

  test('why a token was refused are those that there are', () => {
    const said = firstCells(token).filter((name) => name !== 'reason')
    const logins = sources([
      'config/',
      'client/',
      'demo/',
      'explain/',
      'upstream',
      'memberships/',
      'validator/',
    ])
    const ours = found(logins, /reason: '([a-z0-9_]+)'/g).concat(
      found(logins, /'(usermap_[a-z0-9_]+)'/g),
    )
    const notOfTokens = ['hba_reject', 'max_connections', 'no_client_certificate', 'no_hba_entry']
    const atTheEnd = ['shutdown', 'timeout']
    const wanted = new Set([
      ...ours.filter((reason) => !notOfTokens.includes(reason) && !atTheEnd.includes(reason)),
      ...found(logins, /\?\? '(token_refused)'/g),
      ...found(logins, /reason = '(memberships_unknown)'/g),
      ...Object.keys(FAULTS).map((fault) => `validator_${fault}`),
    ])
    expect([...said].sort()).toEqual([...wanted].sort())
  })

  test('of other refusals are in the row of their code', () => {
    for (const [code, reason] of [
      ['ERR_HBA_NO_ENTRY', 'no_hba_entry'],
      ['ERR_HBA_REJECT', 'hba_reject'],
      ['ERR_INVALID_AUTHORIZATION', 'no_client_certificate'],
      ['ERR_TOO_MANY_CONNECTIONS', 'max_connections'],
      ['ERR_SERVER_CLOSING', 'shutdown'],
      ['ERR_AUTHENTICATION_TIMEOUT', 'timeout'],
      ['ERR_AUTHENTICATION_TIMEOUT', 'shutdown'],
      ['ERR_MEMBERSHIPS_UNKNOWN', 'memberships_unknown'],
      ['ERR_CERTIFICATE_AUTHENTICATION', 'certificate_mismatch'],
      ['ERR_UPSTREAM_REFUSED', 'refused'],
    ] as const) {
      const row = tableRows(ERRORS).find(([first]) => first === `\`${code}\``) ?? []
      expect(codeSpans(row.at(-1) ?? ''), code).toContain(reason)
    }
  })

  test('of the host are words that it knows', () => {
    expect(Object.keys(FAULTS).filter((fault) => !isValidatorFault(fault))).toEqual([])
  })

  test('why there is no server behind are those that there are', () => {
    const text = section(ERRORS, '## Why there is no server behind')
    const said = codeSpans(text).filter((word) => word in UPSTREAM)
    expect([...new Set(said)].sort()).toEqual(Object.keys(UPSTREAM).sort())
  })

  test('of the bundled validators are those that they have', () => {
    expect(firstCells(section(CODES, '## The token was refused')).sort()).toEqual(
      Object.keys(DENIED).sort(),
    )
    expect(firstCells(section(CODES, '## No answer could be given')).sort()).toEqual(
      Object.keys(NO_ANSWER).sort(),
    )
  })
})
