/**
 * An explanation for programs. `docs/reference/explain-json.md` describes it; members may be added, and
 * anything else changes `version`.
 *
 * @module
 */
import { toText } from '../byte-string.ts'
import { hbaFileRuleJson, type HbaFileRuleJson } from './views-json.ts'
import { describeHbaLine } from '../hba/describe-hba-line.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import type { HbaField } from '../hba/match-hba-line.ts'
import type { IdentField } from '../ident/check-usermap.ts'
import type { IdentLine } from '../ident/ident-line.ts'
import type { ValidationOutcome } from '../validator/validation-outcome.ts'
import type { Explanation, Undecided } from './explain-login.ts'
import type { MapExplanation } from './explain-usermap.ts'

/** The version of the shape. */
export const EXPLAIN_JSON_VERSION = 1

export interface ExplanationJson {
  readonly version: typeof EXPLAIN_JSON_VERSION
  readonly verdict: Explanation['verdict']
  readonly undecided: Undecided | null
  readonly connection: ConnectionJson
  /** Every rule that was looked at, the one that matches last. */
  readonly rules: readonly RuleJson[]
  readonly host_name_detail: string | null
  readonly validator: ValidatorJson | null
  readonly maps: readonly MapJson[]
  readonly outcome: OutcomeJson
}

interface ConnectionJson {
  readonly user: string
  readonly database: string
  readonly address: string | null
  readonly tls: boolean
  readonly physical_replication: boolean
  readonly client_cert_dn: string | null
}

interface RuleJson extends Omit<HbaFileRuleJson, 'error'> {
  readonly matches: boolean
  readonly mismatch: HbaField | null
}

interface ValidatorJson {
  readonly name: string
  readonly issuer: string
  readonly scope: string
  /** True: the answer came with the question, in place of a token. */
  readonly assumed: boolean
  readonly answer: 'authorized' | 'not_authorized' | 'internal_error' | null
  readonly authn_id: string | null
  readonly code: string | null
  readonly detail: string | null
  /** Seconds since 1970. */
  readonly expires_at: number | null
}

interface MapJson {
  readonly kind: MapExplanation['kind']
  readonly name: string
  readonly map_name: string | null
  readonly lines: readonly MapLineJson[]
  readonly matches: boolean
  readonly reason: string | null
  readonly detail: string | null
}

interface MapLineJson {
  readonly file_name: string
  readonly line_number: number
  readonly map_number: number
  readonly sys_name: string
  readonly pg_username: string
  readonly matches: boolean
  readonly mismatch: IdentField | 'error' | null
}

interface OutcomeJson {
  /** Stable words, as in the log; null where nothing is refused. */
  readonly code: string | null
  readonly reason: string | null
  /** The ErrorResponse; null where the client gets none. */
  readonly client: ClientJson | null
  readonly log: readonly LogLineJson[]
}

interface ClientJson {
  readonly severity: string
  readonly sql_state: string
  readonly message: string
  readonly detail: string | null
  readonly hint: string | null
}

interface LogLineJson {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

/** The whole of it. */
export function explanationJson(explanation: Explanation): ExplanationJson {
  const { request, mismatches, line } = explanation
  const rules = mismatches.map(({ line: other, field }) => ruleJson(other, field))
  return {
    version: EXPLAIN_JSON_VERSION,
    verdict: explanation.verdict,
    undecided: explanation.undecided ?? null,
    connection: {
      user: toText(request.user),
      database: toText(request.database),
      address: request.clientAddress ?? null,
      tls: request.tls,
      physical_replication: request.physicalReplication,
      client_cert_dn: request.clientCertificate?.distinguishedName ?? null,
    },
    rules: line === undefined ? rules : [...rules, ruleJson(line, undefined)],
    host_name_detail: explanation.hostNameDetail ?? null,
    validator: validatorJson(explanation),
    maps: explanation.maps.map(mapJson),
    outcome: outcomeJson(explanation),
  }
}

function ruleJson(line: HbaLine, field: HbaField | undefined): RuleJson {
  const { error: _, ...row } = hbaFileRuleJson(describeHbaLine(line))
  return { ...row, matches: field === undefined, mismatch: field ?? null }
}

function validatorJson({ line, validation, assumed }: Explanation): ValidatorJson | null {
  if (line?.oauth === undefined) {
    return null
  }
  const { validator, issuer, scope } = line.oauth
  const named = { name: validator, issuer: toText(issuer), scope: toText(scope), assumed }
  return { ...named, ...answerJson(validation) }
}

function answerJson(
  outcome: ValidationOutcome | undefined,
): Pick<ValidatorJson, 'answer' | 'authn_id' | 'code' | 'detail' | 'expires_at'> {
  const nothing = { authn_id: null, code: null, detail: null, expires_at: null }
  switch (outcome?.kind) {
    case undefined:
      return { answer: null, ...nothing }
    case 'internal_error':
      return {
        answer: 'internal_error',
        ...nothing,
        code: outcome.code ?? outcome.reason,
        detail: outcome.logDetail,
      }
    case 'decided':
      return {
        answer: outcome.authorized ? 'authorized' : 'not_authorized',
        authn_id: outcome.authnId ?? null,
        code: outcome.code ?? null,
        detail: outcome.errorDetail ?? null,
        expires_at: outcome.expiresAt ?? null,
      }
  }
}

function mapJson({ kind, name, map, mismatches, answer }: MapExplanation): MapJson {
  const lines = mismatches.map(({ line, field }) => mapLineJson(line, field))
  const last = answer.ok === true && answer.line ? [mapLineJson(answer.line, undefined)] : []
  return {
    kind,
    name: toText(name),
    map_name: map === undefined ? null : toText(map),
    lines: [...lines, ...last],
    matches: answer.ok,
    reason: answer.ok ? null : answer.reason,
    detail: answer.ok ? null : answer.message,
  }
}

function mapLineJson(line: IdentLine, field: IdentField | 'error' | undefined): MapLineJson {
  return {
    file_name: line.file,
    line_number: line.line,
    map_number: line.mapNumber,
    sys_name: toText(line.systemUser.token.value),
    pg_username: toText(line.pgUser.token.value),
    matches: field === undefined,
    mismatch: field ?? null,
  }
}

function outcomeJson({ error, log }: Explanation): OutcomeJson {
  return {
    code: error?.code ?? null,
    reason: error?.reason ?? null,
    client:
      error === undefined || error.audience === 'log'
        ? null
        : {
            severity: error.severity,
            sql_state: error.sqlState,
            message: error.message,
            detail: error.detail ?? null,
            hint: error.hint ?? null,
          },
    log: log.map(({ level, message, fields }) => ({ level, msg: message, ...fields })),
  }
}
