/**
 * What checking a token costs, beside the raw signature check of OpenSSL and beside jose alone, all in
 * one interleaved run, so that a busy machine slows all of them alike. Prints medians and ratios.
 *
 *     npm run bench:validate -- [--seconds 20]
 */
import { constants, createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { createLocalJWKSet, exportJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import type { AnyValidatorModule, ValidationRequest, ValidatorResult } from 'pgbearer/validator'
import jwt from '../validators/jwt.ts'

const ISSUER = 'https://login.example.com'
const AUDIENCE = 'https://db.example.com'
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const
const TOKENS = 256
const BATCH = 256

type Algorithm = (typeof ALGORITHMS)[number]

/** One thing to measure: `run` does it once for token number `i`. */
interface Contender {
  readonly name: string
  readonly run: (i: number) => unknown
}

interface Sample {
  readonly wallUs: number
  readonly cpuUs: number
}

type Rounds = Record<string, Record<string, Sample[]>>

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { seconds: { type: 'string', default: '20' } } })
  const until = performance.now() + Number(values.seconds) * 1_000
  const sets = await Promise.all(
    ALGORITHMS.map(async (alg) => [alg, await contenders(alg)] as const),
  )
  const rounds: Rounds = {}
  for (let round = 0; round < 3 || performance.now() < until; round += 1) {
    for (const [alg, list] of sets) {
      for (const contender of list) {
        const sample = await measure(contender)
        // The first round compiles.
        if (round > 0) {
          rounds[alg] ??= {}
          const samples = (rounds[alg][contender.name] ??= [])
          samples.push(sample)
        }
      }
    }
  }
  report(rounds)
  await latencyUnderLoad(sets[0]?.[1] ?? [])
}

async function contenders(alg: Algorithm): Promise<Contender[]> {
  const { publicKey, privateKey } = generate(alg)
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid: 'k1', alg, use: 'sig' }
  const now = Math.floor(Date.now() / 1_000)
  const tokens = await Promise.all(
    Array.from({ length: TOKENS }, (_, i) =>
      new SignJWT(claims(i, now))
        .setProtectedHeader({ alg, kid: 'k1', typ: 'at+jwt' })
        .sign(privateKey),
    ),
  )
  const cold = await start(jwk, 0)
  const cached = await start(jwk, 10_000)
  const requests = tokens.map(request)
  const keys = createLocalJWKSet({ keys: [jwk] })
  const raw = tokens.map((token) => rawVerify(token, alg, createPublicKey(privateKey)))
  const garbage = garbageTokens(tokens[0] ?? '').map(request)
  return [
    { name: 'node:crypto verify', run: (i) => raw[i % TOKENS]?.() },
    {
      name: 'jose jwtVerify',
      run: (i) =>
        jwtVerify(tokens[i % TOKENS] ?? '', keys, {
          issuer: ISSUER,
          audience: AUDIENCE,
          algorithms: [alg],
          typ: 'at+jwt',
          requiredClaims: ['exp', 'iat', 'sub'],
        }),
    },
    { name: 'pgbearer, cold', run: (i) => accepted(cold, requests[i % TOKENS]) },
    { name: 'pgbearer, cached', run: (i) => accepted(cached, requests[i % TOKENS]) },
    { name: 'pgbearer, random text', run: () => refused(cold, garbage[0]) },
    { name: 'pgbearer, random payload', run: () => refused(cold, garbage[1]) },
  ]
}

function generate(alg: Algorithm): ReturnType<typeof generateKeyPairSync> {
  switch (alg) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    case 'EdDSA':
      return generateKeyPairSync('ed25519')
    case 'RS256':
    case 'PS256':
      return generateKeyPairSync('rsa', { modulusLength: 2048 })
  }
}

function claims(i: number, now: number): Record<string, unknown> {
  return {
    iss: ISSUER,
    aud: AUDIENCE,
    sub: `user-${i}`,
    client_id: 'application',
    jti: randomBytes(16).toString('hex'),
    scope: 'openid db profile',
    iat: now,
    exp: now + 3_600,
    groups: Array.from({ length: 10 }, (_, group) => `a-group-with-a-name-${group}`),
  }
}

async function start(jwk: JWK, entries: number): Promise<AnyValidatorModule> {
  const silent = { debug() {}, log() {}, warning() {} }
  return jwt(
    { audiences: [AUDIENCE], jwks: { keys: [jwk] }, token_cache: { entries } },
    { name: 'jwt', log: silent, baseDirectory: '.', issuers: [ISSUER], rules: [] },
  )
}

function request(token: string): ValidationRequest<unknown> {
  return {
    token,
    role: 'user',
    issuer: ISSUER,
    scope: ['db'],
    options: {},
    delegateIdentMapping: false,
    connection: { id: '1', database: 'db', clientAddress: '127.0.0.1', tls: true },
  }
}

// One for each connection that may be logging in at a time.
const STATES = Array.from({ length: TOKENS }, () => ({
  privateData: undefined,
  log: { debug() {}, log() {}, warning() {} },
  signal: new AbortController().signal,
  hostVersion: '0.0.0',
}))
let logins = 0

async function validate(
  module: AnyValidatorModule,
  request: ValidationRequest<unknown> | undefined,
): Promise<ValidatorResult> {
  const state = STATES[logins % TOKENS]
  logins += 1
  const result =
    request === undefined || state === undefined ? false : await module.validate(state, request)
  if (result === false) {
    throw new Error('no answer')
  }
  return result
}

async function accepted(
  module: AnyValidatorModule,
  request: ValidationRequest<unknown> | undefined,
): Promise<void> {
  const result = await validate(module, request)
  if (!result.authorized) {
    throw new Error(`refused: ${result.code}`)
  }
}

async function refused(
  module: AnyValidatorModule,
  request: ValidationRequest<unknown> | undefined,
): Promise<void> {
  if ((await validate(module, request)).authorized) {
    throw new Error('accepted garbage')
  }
}

/** Of the length of a good token: characters without meaning, and a good header before such ones. */
function garbageTokens(good: string): string[] {
  const random = randomBytes(good.length).toString('base64url')
  const [header = '', payload = '', signature = ''] = good.split('.')
  const text = `${random.slice(0, header.length)}.${random.slice(0, payload.length)}.${signature}`
  return [text, `${header}.${random.slice(0, payload.length)}.${signature}`]
}

function rawVerify(
  token: string,
  alg: Algorithm,
  publicKey: ReturnType<typeof createPublicKey>,
): () => void {
  const dot = token.lastIndexOf('.')
  const data = Buffer.from(token.slice(0, dot))
  const signature = Buffer.from(token.slice(dot + 1), 'base64url')
  const key = {
    key: publicKey,
    dsaEncoding: 'ieee-p1363' as const,
    ...(alg === 'PS256'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : {}),
  }
  const hash = alg === 'EdDSA' ? null : 'sha256'
  return () => {
    if (!verify(hash, data, key, signature)) {
      throw new Error('a good signature is bad')
    }
  }
}

async function measure({ run }: Contender): Promise<Sample> {
  const cpu = process.cpuUsage()
  const wall = performance.now()
  for (let i = 0; i < BATCH; i += 1) {
    await run(i)
  }
  const wallUs = ((performance.now() - wall) * 1_000) / BATCH
  const { user, system } = process.cpuUsage(cpu)
  return { wallUs, cpuUs: (user + system) / BATCH }
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}

function report(rounds: Rounds): void {
  for (const [alg, byName] of Object.entries(rounds)) {
    const cpu = (name: string): number => median((byName[name] ?? []).map(({ cpuUs }) => cpuUs))
    console.log(`\n${alg}, ${byName['pgbearer, cold']?.length} rounds of ${BATCH}`)
    for (const [name, samples] of Object.entries(byName)) {
      const wall = median(samples.map(({ wallUs }) => wallUs))
      const ratio = (cpu('jose jwtVerify') / cpu(name)).toFixed(2)
      console.log(
        `  ${name.padEnd(26)} ${cpu(name).toFixed(2).padStart(8)} us CPU ${wall.toFixed(2).padStart(8)} us wall` +
          ` ${Math.round(1e6 / cpu(name))
            .toLocaleString('en')
            .padStart(10)}/s and core  ${ratio} x jose`,
      )
    }
    const garbage = Math.max(cpu('pgbearer, random text'), cpu('pgbearer, random payload'))
    console.log(`  garbage costs ${(garbage / cpu('pgbearer, cold')).toFixed(3)} of a good token`)
  }
}

/** 64 logins at a time, one in eight with a token nobody has seen: how long the cached ones take. */
async function latencyUnderLoad(list: readonly Contender[]): Promise<void> {
  const cold = list.find(({ name }) => name === 'pgbearer, cold')
  const cached = list.find(({ name }) => name === 'pgbearer, cached')
  const times: number[] = []
  const worker = async (offset: number): Promise<void> => {
    for (let i = 0; i < 2_000; i += 1) {
      if ((i + offset) % 8 === 0) {
        await cold?.run(i)
        continue
      }
      const begin = performance.now()
      await cached?.run(i)
      times.push(performance.now() - begin)
      // Logins come from sockets, not from one another.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await Promise.all(Array.from({ length: 64 }, (_, offset) => worker(offset)))
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number): string =>
    (sorted[Math.floor(sorted.length * share)] ?? NaN).toFixed(3)
  console.log(
    `\ncached, 64 at a time, one in eight cold: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms`,
  )
}

await main()
