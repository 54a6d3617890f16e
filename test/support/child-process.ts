/** Programs run by tests, with all they write. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export interface ProgramOptions {
  readonly cwd?: string
  /** Added to our own; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Standard input, which then ends. Without it, it stays open. */
  readonly input?: string
  readonly uid?: number
  readonly gid?: number
}

export interface ProgramEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program extends AsyncDisposable {
  readonly pid: number
  readonly child: ChildProcessWithoutNullStreams
  readonly stdout: () => string
  readonly stderr: () => string
  /** Settles when it has ended and its streams are closed. */
  readonly ended: Promise<ProgramEnd>
  /** Waits until what it wrote (stdout, then stderr) matches. @throws {Error} with all it wrote where it ends before. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
}

/** Starts a program; it is killed when the test is over. */
export function startProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Program {
  const program = launch(command, args, options)
  onTestFinished(() => program[Symbol.asyncDispose]())
  return program
}

/** Runs a program to its end. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramEnd> {
  return await startProgram(command, args, { input: '', ...options }).ended
}

/** The built command line, `dist/src/cli.js`; `npm test` builds it before. */
export function startCli(args: readonly string[], options: ProgramOptions = {}): Program {
  return startProgram(process.execPath, [cliPath(), ...args], options)
}

export async function runCli(
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramEnd> {
  return await startCli(args, { input: '', ...options }).ended
}

export function cliPath(): string {
  const path = fileURLToPath(new URL('../../dist/src/cli.js', import.meta.url))
  if (!existsSync(path)) {
    throw new Error(`${path} is not there; build it with: npm run build`)
  }
  return path
}

/** A program without an end: for `perFile`. */
export function launch(
  command: string,
  args: readonly string[],
  { cwd, env = {}, input, uid, gid }: ProgramOptions = {},
): Program {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  })
  let stdout = ''
  let stderr = ''
  const waiting = new Set<() => void>()
  const wake = (): void => {
    for (const look of waiting) {
      look()
    }
    waiting.clear()
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    wake()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    wake()
  })
  child.stdin.on('error', () => {})
  if (input !== undefined) {
    child.stdin.end(input)
  }
  let over = false
  const ended = new Promise<ProgramEnd>((resolve) => {
    const settle = (status: number | null, signal: NodeJS.Signals | null): void => {
      over = true
      wake()
      resolve({ status, signal, stdout, stderr })
    }
    child.on('error', (error) => {
      stderr += error.message
      settle(null, null)
    })
    child.on('close', settle)
  })
  return {
    pid: child.pid ?? 0,
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    waitFor: async (pattern) => {
      for (;;) {
        const found = pattern.exec(stdout) ?? pattern.exec(stderr)
        if (found !== null) {
          return found
        }
        if (over) {
          throw new Error(`it ended before ${pattern}\nstdout: ${stdout}\nstderr: ${stderr}`)
        }
        await new Promise<void>((resolve) => {
          waiting.add(resolve)
        })
      }
    },
    kill: (signal) => void child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}
