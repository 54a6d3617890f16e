/** Configurations in a directory, and commands that write into strings. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { check, type CheckOptions } from '../../src/commands/check.ts'
import { explain, type ExplainOptions } from '../../src/commands/explain.ts'

export interface Configuration {
  readonly directory: string
  /** The settings file. */
  readonly config: string
  /** The path of a file of the directory. */
  readonly path: (name: string) => string
  /** @returns its path. */
  readonly write: (name: string, text: string) => string
}

/** Files that are gone when the test is over. */
export function configure(files: Readonly<Record<string, string>>): Configuration {
  const directory = mkdtempSync(path.join(tmpdir(), 'pgbearer-commands-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const inDirectory = (name: string): string => path.join(directory, name)
  const write = (name: string, text: string): string => {
    mkdirSync(path.dirname(inDirectory(name)), { recursive: true })
    writeFileSync(inDirectory(name), text, { mode: 0o600 })
    return inDirectory(name)
  }
  for (const [name, text] of Object.entries(files)) {
    write(name, text)
  }
  return { directory, config: inDirectory('pgbearer.toml'), path: inDirectory, write }
}

/** The end of every settings file here. */
export const UPSTREAM = '[upstream]\nhost = "127.0.0.1"\n'

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

async function run(
  command: (output: {
    answer: (text: string) => void
    complain: (text: string) => void
  }) => Promise<number>,
): Promise<Ran> {
  let stdout = ''
  let stderr = ''
  const status = await command({
    answer: (text) => {
      stdout += text
    },
    complain: (text) => {
      stderr += text
    },
  })
  return { status, stdout, stderr }
}

export const runCheck = (options: CheckOptions): Promise<Ran> =>
  run((output) => check(options, output))

export const runExplain = (options: ExplainOptions): Promise<Ran> =>
  run((output) => explain(options, output))
