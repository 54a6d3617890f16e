/**
 * What the host and a worker say to each other, over a port of their own. The module in the worker never
 * gets hold of that port; still, the host takes whatever comes over it for foreign.
 *
 * @module
 */
import type { ConnectionInfo, ValidatorRule } from '../contract.ts'

/** What a worker is started with. */
export interface WorkerStart {
  readonly port: MessagePortLike
  readonly name: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly baseDirectory: string
  readonly issuers: readonly string[]
  readonly rules: readonly ValidatorRule[]
  readonly checkOnly: boolean
  readonly timeoutMs: number | undefined
  /** All workers of a module run the same version of it. Undefined: a bundled one. */
  readonly version: string | undefined
}

/** The part of a `MessagePort` that is used. */
export interface MessagePortLike {
  postMessage(message: unknown): void
  on(event: 'message', listener: (message: unknown) => void): unknown
}

/** One validation, as it goes to the worker that is to do it. */
export interface RemoteRequest {
  readonly token: string
  readonly role: string
  readonly issuer: string
  readonly scope: readonly string[]
  /** As in the rule, not parsed. */
  readonly options: Readonly<Record<string, string>>
  readonly delegateIdentMapping: boolean
  readonly connection: ConnectionInfo
}

/** From the host. `call` numbers what is answered, `state` the connection. */
export type ToWorker =
  | { readonly op: 'startup'; readonly call: number; readonly state: number }
  | {
      readonly op: 'validate'
      readonly call: number
      readonly state: number
      readonly request: RemoteRequest
    }
  | { readonly op: 'shutdown'; readonly call: number; readonly state: number }
  | {
      readonly op: 'options'
      readonly call: number
      readonly options: Readonly<Record<string, string>>
    }
  | { readonly op: 'dispose'; readonly call: number }
  | { readonly op: 'cancel'; readonly state: number; readonly timedOut: boolean }
  /** The connection is gone, and nothing more comes for it. */
  | { readonly op: 'forget'; readonly state: number }
  | { readonly op: 'ping' }

/** What a worker says once its module is loaded. */
export interface LoadedReport {
  readonly startup: boolean
  readonly shutdown: boolean
}

/** From a worker. */
export type FromWorker =
  | { readonly op: 'loaded'; readonly report: LoadedReport }
  | { readonly op: 'load_failed'; readonly reason: string; readonly message: string }
  | { readonly op: 'answer'; readonly call: number; readonly value: unknown }
  | {
      readonly op: 'fault'
      readonly call: number
      readonly reason: string
      readonly detail: string
    }
  | {
      readonly op: 'log'
      /** Undefined: the log of the init function. */
      readonly state: number | undefined
      readonly level: 'debug' | 'log' | 'warning'
      readonly message: string
      readonly fields: unknown
    }
  | { readonly op: 'stray'; readonly detail: string }
  /** So many lines of log or console were too many. */
  | { readonly op: 'dropped'; readonly lines: number }
  | { readonly op: 'pong' }
