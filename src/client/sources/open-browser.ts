/**
 * Opens a page in the person's browser.
 *
 * @module
 */
import { spawn } from 'node:child_process'
import { OAuthGrantError } from '../errors.ts'

/** Opens a local URL; rejects if that cannot work. */
export type OpenBrowser = (url: string, signal: AbortSignal) => Promise<void>

const OPENERS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

/**
 * Runs a program that opens a URL: by default what the system has for it. The URL is a local one with a
 * random path, so nothing in it needs quoting and no other user of the machine learns anything from it.
 *
 * @throws OAuthGrantError if the program cannot be run or fails.
 */
export function browserCommand(
  command: readonly [string, ...string[]] = OPENERS[process.platform] ?? ['xdg-open'],
): OpenBrowser {
  const [program, ...args] = command
  return (url, signal) =>
    new Promise((resolve, reject) => {
      const child = spawn(program, [...args, url], { stdio: 'ignore', shell: false, signal })
      child.on('error', (error: NodeJS.ErrnoException) => {
        reject(
          signal.aborted
            ? signal.reason
            : new OAuthGrantError(`could not open a browser: ${program}: ${error.code}`),
        )
      })
      child.on('exit', (code) => {
        if (code === 0) {
          resolve()
          return
        }
        reject(new OAuthGrantError(`could not open a browser: ${program} exited with code ${code}`))
      })
    })
}
