/**
 * Starting the process that libpq lives in, and talking to it.
 *
 * @module
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import type { ChildReply, ChildRequest } from './libpq-child.ts'

/** A process of `libpq-child.ts`, and the requests to it that wait for their replies. */
export class LibpqCalls {
  /** Settles when the process is ready; rejects where it cannot load libpq. */
  readonly started: Promise<unknown>
  readonly #child: ChildProcess
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >()
  #lastId = 0
  #stderr = ''

  constructor(libpq: string, env: Readonly<Record<string, string>>) {
    const child = fork(childProgram(), [libpq], {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      execArgv: [],
      env: { ...cleanEnvironment(), ...env },
    })
    this.#child = child
    this.started = this.#reply(0)
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    child.on('message', (message: ChildReply) => this.#settle(message))
    const gone = (why: string): void => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`the process of libpq is gone (${why})\n${this.#stderr}`))
      }
      this.#waiting.clear()
    }
    child.on('error', (error) => gone(error.message))
    child.on('close', (status, signal) => gone(`${signal ?? status}`))
  }

  get stderr(): string {
    return this.#stderr
  }

  async call(request: WithoutId<ChildRequest>): Promise<unknown> {
    if (!this.#child.connected) {
      throw new Error('the process of libpq is gone')
    }
    this.#lastId += 1
    const reply = this.#reply(this.#lastId)
    this.#child.send({ ...request, id: this.#lastId })
    return await reply
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
  }

  #reply(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
    })
  }

  #settle({ id, value, error }: ChildReply): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) {
      waiting?.resolve(value)
    } else {
      waiting?.reject(new Error(error))
    }
  }
}

type WithoutId<Request> = Request extends unknown ? Omit<Request, 'id'> : never

/** The compiled program: Node 20 cannot run TypeScript, and a test runs from the sources. */
function childProgram(): string {
  const fromSources = import.meta.url.endsWith('.ts')
  const program = fileURLToPath(
    new URL(
      fromSources ? '../../dist/src/demo/libpq-child.js' : './libpq-child.js',
      import.meta.url,
    ),
  )
  if (!existsSync(program)) {
    throw new Error(`${program} is not there; build it with: npm run build`)
  }
  return program
}

/** Nothing of the user's may change what libpq does: no variables, no files below HOME. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  // One thread per connection that waits.
  const env: NodeJS.ProcessEnv = { UV_THREADPOOL_SIZE: '64', HOME: '/nonexistent' }
  for (const [name, value] of Object.entries(process.env)) {
    if (!/^(PG|HOME$|UV_|NODE_OPTIONS$)/.test(name)) {
      env[name] = value
    }
  }
  return env
}
