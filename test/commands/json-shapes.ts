/** What docs/reference/explain-json.md promises, written a second time. */
import { z } from 'zod'

const text = z.string().nullable()
const number = z.int().nullable()
const list = z.array(z.string()).nullable()

const problem = z.strictObject({
  message: z.string(),
  code: z.string(),
  file: text,
  line: number,
  detail: text,
  hint: text,
  sql_state: text,
  validator: text,
  reason: text,
})

const hbaFileRule = z.strictObject({
  rule_number: number,
  file_name: z.string(),
  line_number: z.int(),
  type: text,
  database: list,
  user_name: list,
  address: text,
  netmask: text,
  auth_method: text,
  options: list,
  error: text,
})

const identFileMapping = z.strictObject({
  map_number: number,
  file_name: z.string(),
  line_number: z.int(),
  map_name: text,
  sys_name: text,
  pg_username: text,
  error: text,
})

const explainedRule = hbaFileRule.omit({ error: true }).extend({
  matches: z.boolean(),
  mismatch: z.enum(['type', 'tls', 'gss', 'address', 'database', 'user']).nullable(),
})

const validator = z.strictObject({
  name: z.string(),
  issuer: z.string(),
  scope: z.string(),
  assumed: z.boolean(),
  answer: z.enum(['authorized', 'not_authorized', 'internal_error']).nullable(),
  authn_id: text,
  code: text,
  detail: text,
  expires_at: z.number().nullable(),
})

const map = z.strictObject({
  kind: z.enum(['identity', 'certificate']),
  name: z.string(),
  map_name: text,
  lines: z.array(
    z.strictObject({
      file_name: z.string(),
      line_number: z.int(),
      map_number: z.int(),
      sys_name: z.string(),
      pg_username: z.string(),
      matches: z.boolean(),
      mismatch: z.enum(['system-username', 'pg-username', 'error']).nullable(),
    }),
  ),
  matches: z.boolean(),
  reason: z.enum(['usermap_no_match', 'usermap_mismatch', 'usermap_regex_error']).nullable(),
  detail: text,
})

const outcome = z.strictObject({
  code: text,
  reason: text,
  client: z
    .strictObject({
      severity: z.literal('FATAL'),
      sql_state: z.string().length(5),
      message: z.string(),
      detail: text,
      hint: text,
    })
    .nullable(),
  log: z.array(
    z.looseObject({ level: z.enum(['log', 'warning', 'error', 'fatal']), msg: z.string() }),
  ),
})

/** An answer of `pgbearer explain --json`. */
export const explanationShape = z.strictObject({
  version: z.literal(1),
  verdict: z.enum(['accepted', 'refused', 'undecided']),
  undecided: z.enum(['token_needed', 'server_behind_decides', 'validator_failed']).nullable(),
  connection: z.strictObject({
    user: z.string(),
    database: z.string(),
    address: text,
    tls: z.boolean(),
    physical_replication: z.boolean(),
    client_cert_dn: text,
  }),
  rules: z.array(explainedRule),
  host_name_detail: text,
  validator: validator.nullable(),
  maps: z.array(map),
  outcome,
})

/** The same where the question could not be asked. */
export const explainFailureShape = z.strictObject({
  version: z.literal(1),
  verdict: z.literal('undecided'),
  errors: z.array(problem).min(1),
})

/** An answer of `pgbearer check --json`. */
export const checkShape = z.strictObject({
  version: z.literal(1),
  ok: z.boolean(),
  settings_file: z.string(),
  hba_file_rules: z.array(hbaFileRule).nullable(),
  ident_file_mappings: z.array(identFileMapping).nullable(),
  validators: z.array(z.string()).nullable(),
  errors: z.array(problem),
  warnings: z.array(problem),
  expectations: z
    .array(
      z.strictObject({
        file: z.string(),
        line: number,
        name: text,
        ok: z.boolean(),
        differences: z.array(
          z.strictObject({
            field: z.enum(['outcome', 'line', 'map_line', 'reason', 'question']),
            expected: z.string(),
            got: z.string(),
          }),
        ),
        explanation: explanationShape.nullable(),
      }),
    )
    .nullable(),
})
