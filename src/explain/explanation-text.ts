/**
 * An explanation for people.
 *
 * @module
 */
import { toText } from '../byte-string.ts'
import { printable } from '../log.ts'
import type { Explanation } from './explain-login.ts'
import { type ExplanationJson, explanationJson } from './explanation-json.ts'
import { printableTable } from './printable-table.ts'

const FIELDS: Readonly<Record<string, string>> = {
  tls: 'type (encryption)',
  gss: 'type (GSS encryption)',
  error: 'error, which ends the search',
}

const UNDECIDED = {
  token_needed: 'the rule asks for a token, and there is none in the question',
  server_behind_decides: 'the server behind asks the client and decides',
  validator_failed: 'the validator could not answer; a client would be refused now',
} as const

/** Several lines, without a line feed at the end. No control character of a name is in them. */
export function explanationText(explanation: Explanation): string {
  const json = explanationJson(explanation)
  return [
    connectionText(explanation),
    rulesText(json),
    validatorText(json),
    ...json.maps.map(mapText),
    outcomeText(json),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

function connectionText({ request }: Explanation): string {
  const from = request.clientAddress === undefined ? 'over a Unix socket' : request.clientAddress
  const how = request.tls ? 'TLS' : 'no TLS'
  const to = request.physicalReplication
    ? 'physical replication'
    : `database "${toText(request.database)}"`
  return printable(`connection: ${from}, ${how}, user "${toText(request.user)}", ${to}`)
}

function rulesText({ rules, host_name_detail: hostName }: ExplanationJson): string {
  const table = printableTable(
    ['rule', 'type', 'database', 'user_name', 'address', 'netmask', 'auth_method', 'matches'],
    rules.map((rule) => [
      `${rule.file_name}:${rule.line_number}`,
      rule.type,
      rule.database,
      rule.user_name,
      rule.address,
      rule.netmask,
      rule.auth_method,
      answer(rule.mismatch),
    ]),
  )
  const none = rules.at(-1)?.matches === true ? [] : ['No rule matches.']
  return [table, ...none, ...(hostName === null ? [] : [printable(hostName)])].join('\n')
}

function answer(mismatch: string | null): string {
  return mismatch === null ? 'yes' : `no: ${FIELDS[mismatch] ?? mismatch}`
}

function validatorText({ validator }: ExplanationJson): string {
  if (validator === null) {
    return ''
  }
  const { name, issuer, scope, authn_id: authnId, expires_at: expiresAt } = validator
  const parts = [
    validator.answer === null ? 'not asked' : validator.answer.replace('_', ' '),
    ...(authnId === null ? [] : [`identity "${authnId}"`]),
    ...(validator.code === null ? [] : [`code ${validator.code}`]),
    ...(expiresAt === null ? [] : [`expires ${timeText(expiresAt)}`]),
    ...(validator.assumed ? ['as the question assumes'] : []),
  ]
  const detail = validator.detail === null ? [] : [`  ${validator.detail}`]
  return [
    `validator "${name}" for issuer "${issuer}", scope "${scope}": ${parts.join(', ')}`,
    ...detail,
  ]
    .map(printable)
    .join('\n')
}

// A module may count in anything; what is no date is shown as the number that it is.
function timeText(seconds: number): string {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString()
}

function mapText(map: ExplanationJson['maps'][number]): string {
  const whose = map.kind === 'identity' ? 'identity' : 'certificate name'
  if (map.map_name === null) {
    const how = map.matches ? 'it is the role' : 'it is not the role'
    return printable(`no user map: ${whose} "${map.name}", ${how}`)
  }
  const table = printableTable(
    ['line', 'sys_name', 'pg_username', 'matches'],
    map.lines.map((line) => [
      `${line.file_name}:${line.line_number}`,
      line.sys_name,
      line.pg_username,
      answer(line.mismatch),
    ]),
  )
  return `${printable(`user map "${map.map_name}", ${whose} "${map.name}"`)}\n${table}`
}

function outcomeText({ verdict, undecided, outcome }: ExplanationJson): string {
  const why = undecided === null ? '' : `: ${UNDECIDED[undecided]}`
  const lines = [`outcome: ${verdict}${why}`]
  if (outcome.code !== null) {
    lines.push(`  reason: ${outcome.reason ?? 'none'} (${outcome.code})`)
  }
  if (outcome.client !== null) {
    const { severity, message, sql_state: sqlState, detail, hint } = outcome.client
    lines.push(`  client reads: ${severity}:  ${message} (${sqlState})`)
    lines.push(...(detail === null ? [] : [`    DETAIL:  ${detail}`]))
    lines.push(...(hint === null ? [] : [`    HINT:  ${hint}`]))
  }
  for (const { level, msg, detail } of outcome.log) {
    lines.push(`  log says: ${level.toUpperCase()}:  ${msg}`)
    const more = typeof detail === 'string' ? detail.split('\n') : []
    lines.push(...more.map((text) => `    ${text}`))
  }
  return lines.map(printable).join('\n')
}
