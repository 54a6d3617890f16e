/**
 * The validators inside a composite one: started together, ended together, and reached by what a token
 * says about itself.
 *
 * @module
 */
import type {
  AnyValidatorModule,
  Awaitable,
  ValidatorContext,
  ValidatorInit,
  ValidatorLog,
} from 'pgbearer/validator'
import { FOREIGN_TOKEN_LIMITS } from '../remote/foreign-token.ts'
import { SettingsError } from '../settings/parse-settings.ts'
import { expandPreset } from '../presets/expand-preset.ts'
import { type Member, refuseIdentityOverlap } from './identity-overlap.ts'
import { type Route, routeFor } from './routes.ts'
import type { CompositeSettings } from './settings.ts'

const KINDS = ['jwt', 'introspection', 'opaque'] as const
type Kind = (typeof KINDS)[number]
type Table = Readonly<Record<string, unknown>>

/** One issuer with the tables of its validators, in the order in which they are asked. */
type Branch = { readonly issuer: string } & { readonly [kind in Kind]?: Table | undefined }

export class Branches implements AsyncDisposable {
  readonly #inits: Readonly<Record<Kind, ValidatorInit>>
  readonly #context: ValidatorContext
  readonly #modules: AnyValidatorModule[] = []
  readonly #routes = new Map<string, Route[]>()
  #opaque: Route | undefined

  private constructor(inits: Readonly<Record<Kind, ValidatorInit>>, context: ValidatorContext) {
    this.#inits = inits
    this.#context = context
  }

  /** @throws {SettingsError} where issuers are not kept apart, or a table inside is wrong */
  static async start(
    settings: CompositeSettings,
    context: ValidatorContext,
    inits: Readonly<Record<Kind, ValidatorInit>>,
  ): Promise<Branches> {
    const { issuers, opaque } = settings
    if (!settings.allow_identity_overlap) {
      const all = [...issuers, ...(opaque === undefined ? [] : [opaque])]
      refuseIdentityOverlap(await Promise.all(all.map(member)))
    }
    const branches = new Branches(inits, context)
    try {
      for (const branch of issuers) {
        const modules = await branches.#start(branch)
        const { issuer, select_by: selectBy } = branch
        const others = branches.#routes.get(issuer) ?? []
        branches.#routes.set(issuer, [...others, { issuer, selectBy, modules }])
      }
      if (opaque !== undefined) {
        const modules = await branches.#start(opaque)
        branches.#opaque = { issuer: opaque.issuer, selectBy: undefined, modules }
      }
      return branches
    } catch (error) {
      await branches[Symbol.asyncDispose]()
      throw error
    }
  }

  /** @throws {Refusal} where no policy is for such a token */
  routeFor(token: string): Route {
    return routeFor(token, this.#routes, this.#opaque, FOREIGN_TOKEN_LIMITS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const modules = this.#modules.splice(0)
    await Promise.all(
      modules.map(async (module) => {
        await module[Symbol.asyncDispose]?.()
      }),
    )
  }

  async #start(branch: Branch): Promise<AnyValidatorModule[]> {
    const modules: AnyValidatorModule[] = []
    for (const kind of KINDS) {
      const table = branch[kind]
      if (table !== undefined) {
        const place = `issuer "${branch.issuer}", ${kind}`
        const context = contextFor(branch, place, this.#context)
        const module = await named(place, () => this.#inits[kind](table, context))
        this.#modules.push(module)
        modules.push(module)
      }
    }
    return modules
  }
}

/** What is wrong with one of many tables says which one it is. */
async function named<T>(place: string, start: () => Awaitable<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    throw error instanceof SettingsError
      ? new SettingsError(error.message.replaceAll(/^/gm, `${place}: `))
      : error
  }
}

/** Tokens of the branch come through every rule of the composite validator; its warnings say whose they are. */
function contextFor(
  { issuer }: Branch,
  place: string,
  context: ValidatorContext,
): ValidatorContext {
  const rules = context.rules.map((rule) => ({ ...rule, issuer }))
  const { log: whole } = context
  const log: ValidatorLog = {
    debug: (message, fields) => whole.debug(message, fields),
    log: (message, fields) => whole.log(message, fields),
    warning: (message, fields) => whole.warning(`${place}: ${message}`, fields),
  }
  return { ...context, issuers: [issuer], rules, log }
}

/** A preset can decide what identities look like. */
async function member({ issuer, jwt, introspection, opaque }: Branch): Promise<Member> {
  const table =
    jwt === undefined
      ? (introspection ?? opaque ?? {})
      : await named(`issuer "${issuer}", jwt`, () => expandPreset(jwt))
  return { issuer, table }
}
